//! Any octets into the SIR reader and the WSP Push reader: no panic, and what reads whole is
//! written back to a body that reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sirocco_wire::sir::{DevicePosition, ListEntry, Sir, SirFields};
use sirocco_wire::wsp::Push;

fuzz_target!(|octets: &[u8]| {
    if let Ok(push) = Push::parse(octets) {
        let _ = (push.is_sia(), push.application_id());
        body(push.content);
    }
    body(octets);
});

fn body(octets: &[u8]) {
    let Ok(sir) = Sir::parse(octets) else {
        return;
    };
    let device = sir.device();
    let list: Result<Vec<_>, _> = sir.application_list().collect();
    let wsp_points: Result<Vec<_>, _> = sir.wsp_contact_points().collect();
    let points: Result<Vec<_>, _> = sir.contact_points().collect();
    let (Ok(list), Ok(wsp_points), Ok(points)) = (list, wsp_points, points) else {
        return;
    };
    let applications: Vec<_> = list
        .iter()
        .filter_map(|entry| match entry {
            ListEntry::Application(id) => Some(*id),
            ListEntry::Device(_) => None,
        })
        .collect();
    let options: Vec<u32> = sir.protocol_options().collect();
    let tags: Vec<[u8; 4]> = sir.cpi_tags().collect();
    let fields = SirFields {
        version: sir.version,
        applications: &applications,
        wsp_contact_points: &wsp_points,
        contact_points: &points,
        protocol_options: &options,
        prov_url: sir.prov_url,
        cpi_tags: &tags,
        device: device.map_or(&[], |(_, device)| device),
        device_position: DevicePosition::Body,
    };
    let mut out = vec![0; 2 * octets.len() + 64];
    let len = fields
        .write(&mut out)
        .expect("the buffer has room for every field");
    let again = Sir::parse(&out[..len]).expect("our own body reads");
    assert_eq!(again.version, sir.version);
    assert_eq!(again.prov_url, sir.prov_url);
    let kept: Vec<_> = applications
        .iter()
        .map(|id| Ok(ListEntry::Application(*id)))
        .collect();
    assert_eq!(again.application_list().collect::<Vec<_>>(), kept);
    assert!(again.wsp_contact_points().eq(sir.wsp_contact_points()));
    assert!(again.contact_points().eq(sir.contact_points()));
    assert!(again.protocol_options().eq(sir.protocol_options()));
    assert!(again.cpi_tags().eq(sir.cpi_tags()));
    if let Some((_, device)) = device.filter(|(_, device)| !device.is_empty()) {
        assert_eq!(again.device(), Some((DevicePosition::Body, device)));
    }
}
