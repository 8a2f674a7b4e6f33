//! Requests for tests: SIRs as the engine compiles them, and trains of them.

use sirocco_wire::sip::{DevicePosition, LengthClass, SirSpec, Slots, Template};

use crate::population::{Arrival, Origin};

pub(crate) const SPEC: SirSpec<'static> = SirSpec {
    sent_by: "127.0.0.1:5070",
    from: "sip:ppg@ims.example",
    from_tag: "ppg1",
    ppg_uri: "sip:ppg@127.0.0.1:5070",
    application: "push.sia",
    device_position: DevicePosition::Header,
    routed: true,
    expires_s: Some(30),
    ask: "",
    activate: None,
    sealed: None,
};

/// The SIR number `n` to a device of user `user`.
pub(crate) fn sir(user: &str, n: u64) -> Vec<u8> {
    let device = format!("urn:uuid:00000000-0000-1000-a000-{:012x}", n % 1000);
    let hex = |salt: u64| -> [u8; 32] {
        format!("{:016x}{n:016x}", salt)
            .into_bytes()
            .try_into()
            .unwrap()
    };
    let aor_len = "sip:+".len() + user.len() + "@ims.example".len();
    let class = LengthClass::of(aor_len, device.len(), &SPEC).unwrap();
    let template = Template::compile(&SPEC, class).unwrap();
    let mut request = vec![0; template.len()];
    template.fill(&mut request);
    let slots = Slots {
        aor_prefix: b"sip:+",
        aor_user: user.as_bytes(),
        aor_suffix: b"@ims.example",
        device: device.as_bytes(),
        branch: hex(0xb),
        token: hex(0x70),
    };
    template.patch(&mut request, &slots);
    request
}

/// SIRs `first..first + count` to as many identities, of one length.
pub(crate) fn sirs(first: u64, count: u64) -> Vec<Vec<u8>> {
    (first..first + count)
        .map(|n| sir(&format!("86138{n:08}"), n))
        .collect()
}

pub(crate) fn origin() -> Origin {
    Origin {
        socket: 0,
        stream: 0,
        peer: ([127, 0, 0, 1], 5070).into(),
        local: None,
    }
}

/// One received buffer of datagrams of the first one's length.
pub(crate) fn arrival(bytes: &[u8], segment: usize) -> Arrival<'_> {
    Arrival {
        origin: origin(),
        segment,
        bytes,
    }
}
