//! SIR bodies: the vectors of independent implementations, as WSP Push PDUs, and round trips.

use proptest::prelude::*;

use super::*;
use crate::wsp::Push;

/// Version 0: application wml.ua, one GPRS contact point 192.0.2.10:9201.
const A: &str = "010603b4af81 0002af8208c40b23f1c000020a";
const B: &str = "020603b4af81 00018208c40b23f1c000020a";
const C: &str = "030603b4af81 011caf82af782d6f6d612d6170706c69636174696f6e3a63706d3a756100\
    08c40b23f1c000020a1cc40b0fc3c000020ad0010fc420010db8000000000000000000000010\
    02000117687474703a2f2f7070672e6578616d706c652f70726f7602deadbeef01020304";
const D: &str = "040603b4af81 01000000000000";
const F: &str = "060605b4af02904b 0004af02904b08c40b23f1c000020a";
const I: &str = "080603b4af81 01000000 02822cff7f 00 00";
const KANNEL: &str = "010608b48d01db af81c393 0001310fc90a393230313132372e302e302e31";
const SYMBIAN: &str = "01060fb4920439906ad09404399a6ad0af82 000244441bd70a0b84\
    687474703a2f2f7777772e73796d6269616e2e636f6d2f";

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

fn numbers(sir: &Sir<'_>) -> Vec<ListEntry<'static>> {
    sir.application_list()
        .map(|entry| match entry.unwrap() {
            ListEntry::Application(ApplicationId::Number(number)) => {
                ListEntry::Application(ApplicationId::Number(number))
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

const GPRS: ContactPoint<'static> = ContactPoint {
    bearer: Some(0x0B),
    port: Some(9201),
    address: &[192, 0, 2, 10],
};

const PUSH_SIA: ApplicationId<'static> = ApplicationId::Number(1);

fn application(number: u32) -> ListEntry<'static> {
    ListEntry::Application(ApplicationId::Number(number))
}

#[test]
fn vector_a_version_0_minimal() {
    let pdu = octets(A);
    let push = Push::parse(&pdu).unwrap();
    assert!(push.is_sia());
    assert_eq!(
        (push.transaction, push.application_id()),
        (1, Some(PUSH_SIA))
    );
    let sir = Sir::parse(push.content).unwrap();
    assert_eq!(sir.version, 0);
    assert_eq!(numbers(&sir), [application(2)]);
    assert_eq!(sir.wsp_contact_points().collect::<Vec<_>>(), [Ok(GPRS)]);
    assert!(sir.trailing.is_empty() && sir.device().is_none());
}

#[test]
fn vector_b_value_only_list() {
    let pdu = octets(B);
    let sir = Sir::parse(Push::parse(&pdu).unwrap().content).unwrap();
    assert_eq!(numbers(&sir), [application(2)]);
}

#[test]
fn vector_c_version_1_full() {
    let pdu = octets(C);
    assert_eq!(pdu.len(), 110);
    let sir = Sir::parse(Push::parse(&pdu).unwrap().content).unwrap();
    let text = ListEntry::Application(ApplicationId::Text(b"x-oma-application:cpm:ua"));
    assert_eq!(
        sir.application_list().collect::<Vec<_>>(),
        [Ok(application(2)), Ok(text)]
    );
    assert_eq!(sir.wsp_contact_points().collect::<Vec<_>>(), [Ok(GPRS)]);
    let address = octets("20010db8000000000000000000000010");
    let points = [
        Ok(ContactPoint {
            port: Some(4035),
            ..GPRS
        }),
        Ok(ContactPoint {
            bearer: Some(1),
            port: Some(4036),
            address: &address,
        }),
    ];
    assert_eq!(sir.contact_points().collect::<Vec<_>>(), points);
    assert_eq!(sir.protocol_options().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(sir.prov_url, b"http://ppg.example/prov");
    let tags = [[0xDE, 0xAD, 0xBE, 0xEF], [1, 2, 3, 4]];
    assert_eq!(sir.cpi_tags().collect::<Vec<_>>(), tags);

    // The writer gives the same octets back.
    let applications = [
        ApplicationId::Number(2),
        ApplicationId::Text(b"x-oma-application:cpm:ua"),
    ];
    let points = points.map(Result::unwrap);
    let fields = SirFields {
        version: 1,
        applications: &applications,
        wsp_contact_points: &[GPRS],
        contact_points: &points,
        protocol_options: &[0, 1],
        prov_url: b"http://ppg.example/prov",
        cpi_tags: &tags,
        ..SirFields::default()
    };
    let mut out = [0u8; 128];
    let len = fields.write(&mut out).unwrap();
    assert_eq!(&out[..len], &pdu[6..]);
    assert_eq!(fields.write(&mut out[..len - 1]), Err(Overflow));
}

#[test]
fn vector_d_version_1_empty() {
    let pdu = octets(D);
    let sir = Sir::parse(Push::parse(&pdu).unwrap().content).unwrap();
    assert_eq!(
        sir.application_list().count() + sir.contact_points().count(),
        0
    );
    assert_eq!(sir.protocol_options().count() + sir.cpi_tags().count(), 0);
    assert!(sir.prov_url.is_empty() && sir.trailing.is_empty());
}

#[test]
fn vector_e_textual_content_type() {
    let mut pdu = octets("05061a");
    pdu.extend_from_slice(b"application/vnd.wap.sia\0\xaf\x81");
    pdu.extend_from_slice(&octets(A)[6..]);
    let push = Push::parse(&pdu).unwrap();
    assert!(push.is_sia());
    assert_eq!(push.application_id(), Some(PUSH_SIA));
    assert_eq!(push.content, &octets(A)[6..]);
}

#[test]
fn vector_f_long_application_id() {
    let pdu = octets(F);
    let push = Push::parse(&pdu).unwrap();
    assert_eq!(push.application_id(), Some(ApplicationId::Number(0x904B)));
    assert_eq!(
        numbers(&Sir::parse(push.content).unwrap()),
        [application(0x904B)]
    );
}

#[test]
fn vector_g_textual_header() {
    let mut pdu = octets("070631b4");
    pdu.extend_from_slice(b"X-Wap-Application-Id\0x-wap-application:push.sia\0");
    pdu.extend_from_slice(&octets("000008c40b23f1c000020a"));
    let push = Push::parse(&pdu).unwrap();
    let id = push.application_id().unwrap();
    assert_eq!(id, ApplicationId::Text(b"x-wap-application:push.sia"));
    assert_eq!(ApplicationId::of(b"x-wap-application:push.sia"), PUSH_SIA);
    assert_eq!(
        Sir::parse(push.content).unwrap().application_list().count(),
        0
    );
}

#[test]
fn vector_h_truncated() {
    let pdu = octets(C);
    let push = Push::parse(&pdu[..30]).unwrap();
    assert_eq!(
        Sir::parse(push.content),
        Err(SirError::Field(WspError::Truncated))
    );
    let body = &pdu[6..];
    for end in 0..body.len() {
        assert!(Sir::parse(&body[..end]).is_err(), "{end}");
    }
}

#[test]
fn vector_i_protocol_options_above_127() {
    let pdu = octets(I);
    let sir = Sir::parse(Push::parse(&pdu).unwrap().content).unwrap();
    assert_eq!(sir.protocol_options().collect::<Vec<_>>(), [300, 16383]);
}

/// Kannel 1.4.5 writes the list as decimal text and the port as four digits: the layout holds,
/// the contact point does not.
#[test]
fn vector_kannel() {
    let pdu = octets(KANNEL);
    let push = Push::parse(&pdu).unwrap();
    assert!(push.is_sia());
    let sir = Sir::parse(push.content).unwrap();
    assert_eq!(sir.version, 0);
    assert_eq!(numbers(&sir), [application(1)]);
    let points: Vec<_> = sir.wsp_contact_points().collect();
    assert_eq!(points.last(), Some(&Err(WspError::Truncated)));
}

#[test]
fn vector_symbian() {
    let pdu = octets(SYMBIAN);
    let sir = Sir::parse(Push::parse(&pdu).unwrap().content).unwrap();
    let junk = ListEntry::Application(ApplicationId::Text(b"DD"));
    assert_eq!(sir.application_list().collect::<Vec<_>>(), [Ok(junk)]);
    let address = b"http://www.symbian.com/";
    let point = ContactPoint {
        bearer: Some(0x0A),
        port: Some(2948),
        address,
    };
    assert_eq!(sir.wsp_contact_points().collect::<Vec<_>>(), [Ok(point)]);
}

#[test]
fn device_rides_in_every_position() {
    let device = b"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    for device_position in [
        DevicePosition::Header,
        DevicePosition::Value,
        DevicePosition::Body,
    ] {
        for version in 0..=VERSION_MAX {
            let fields = SirFields {
                version,
                applications: &[PUSH_SIA],
                prov_url: b"sip:ppg@192.0.2.1;t=00",
                device,
                device_position,
                ..SirFields::default()
            };
            let mut out = [0u8; 256];
            if version == 0 && device_position == DevicePosition::Value {
                assert_eq!(fields.write(&mut out), Err(Overflow));
                continue;
            }
            let len = fields.write(&mut out).unwrap();
            let sir = Sir::parse(&out[..len]).unwrap();
            assert_eq!(sir.device(), Some((device_position, &device[..])));
            assert_eq!(sir.application_list().next(), Some(Ok(application(1))));
        }
    }
}

#[test]
fn refuses_unknown_versions() {
    assert_eq!(Sir::parse(&[2, 0, 0]), Err(SirError::Version));
    assert_eq!(Sir::parse(&[]), Err(SirError::Version));
}

proptest! {
    #[test]
    fn no_octets_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(sir) = Sir::parse(&body) {
            let entries = sir.application_list().count() + sir.contact_points().count()
                + sir.wsp_contact_points().count() + sir.protocol_options().count()
                + sir.cpi_tags().count();
            prop_assert!(entries <= body.len());
            let _ = sir.device();
        }
        let _ = Push::parse(&body).map(|push| push.application_id());
    }
}
