//! The template against its oracle, `write::sir_request`.

use proptest::prelude::*;

use super::super::{SealCheck, write};
use super::*;

const SPEC: SirSpec<'static> = SirSpec {
    sent_by: "127.0.0.1:5070",
    from: "sip:ppg@ims.example",
    from_tag: "a1b2c3",
    ppg_uri: "sip:ppg@127.0.0.1:5070",
    application: "push.sia",
    device_position: DevicePosition::None,
    routed: true,
    expires_s: None,
    ask: "",
    activate: None,
    sealed: None,
};

/// Removes the padding: spaces behind a colon and at line ends of the header section.
fn without_padding(message: &[u8]) -> Vec<u8> {
    let end = memchr::memmem::find(message, b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&message[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let mut out = lines.next().unwrap().to_owned();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        out.push_str(&format!("\r\n{name}: {}", value.trim_matches(' ')));
    }
    [out.as_bytes(), &message[end..]].concat()
}

fn render(spec: &SirSpec<'_>, slots: &Slots<'_>) -> Vec<u8> {
    let aor_len = slots.aor_prefix.len() + slots.aor_user.len() + slots.aor_suffix.len();
    let class = LengthClass::of(aor_len, slots.device.len(), spec).unwrap();
    let template = Template::compile(spec, class).unwrap();
    // Stale octets must not show through.
    let mut segment = vec![b'#'; template.len() + 7];
    template.fill(&mut segment);
    let stale = vec![b'#'; aor_len];
    let earlier = Slots {
        aor_prefix: b"",
        aor_user: &stale,
        aor_suffix: b"",
        ..*slots
    };
    assert_ne!(template.patch(&mut segment, &earlier), 0);
    assert_ne!(template.patch(&mut segment, slots), 0);
    assert!(segment.ends_with(b"#######"));
    segment.truncate(template.len());
    segment
}

fn oracle(spec: &SirSpec<'_>, slots: &Slots<'_>) -> Vec<u8> {
    let mut out = vec![0; REQUEST_BYTES_MAX];
    let len = write::sir_request(&mut out, spec, slots).unwrap();
    out.truncate(len);
    out
}

#[test]
fn renders_what_the_writer_writes() {
    let slots = Slots {
        aor_prefix: b"sip:+",
        aor_user: b"8613800001111",
        aor_suffix: b"@ims.example",
        device: b"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        branch: *b"0123456789abcdef0123456789abcdef",
        token: *b"fedcba9876543210fedcba9876543210",
    };
    let rendered = render(&SPEC, &slots);
    assert_eq!(
        without_padding(&rendered).escape_ascii().to_string(),
        oracle(&SPEC, &slots).escape_ascii().to_string()
    );
    let message = super::super::Message::parse(&rendered).unwrap();
    assert_eq!(
        message.top_via().unwrap().branch_after_cookie(),
        Some(&slots.branch[..])
    );
    let sir = crate::sir::Sir::parse(message.body()).unwrap();
    assert_eq!(sir.prov_parameter(b"t"), Some(&slots.token[..]));
}

#[test]
fn refuses_slots_of_another_class() {
    let class = LengthClass::of(30, 0, &SPEC).unwrap();
    let template = Template::compile(&SPEC, class).unwrap();
    let mut segment = vec![0; template.len()];
    template.fill(&mut segment);
    let before = segment.clone();
    let mut slots = Slots {
        aor_prefix: b"",
        aor_user: b"sip:a@b.example",
        aor_suffix: b"",
        device: b"",
        branch: [b'1'; 32],
        token: [b'2'; 32],
    };
    assert_eq!(template.patch(&mut segment, &slots), 0);
    slots.aor_user = b"sip:aaaaaaaaaaaaaaaaaaa@b.example";
    assert_eq!(template.patch(&mut segment, &slots), 0);
    slots.aor_user = b"sip:aaaaaaaaaaaa@b.example";
    let short = template.len() - 1;
    assert_eq!(template.patch(&mut segment[..short], &slots), 0);
    assert_eq!(segment, before);
}

#[test]
fn refuses_unfit_specifications() {
    let class = LengthClass::of(30, 0, &SPEC).unwrap();
    let injected = SirSpec {
        from_tag: "a\r\nX: y",
        ..SPEC
    };
    assert_eq!(
        Template::compile(&injected, class).unwrap_err(),
        TemplateError::Field
    );
    let long = "x".repeat(1200);
    let too_long = SirSpec {
        ppg_uri: &long,
        ..SPEC
    };
    for unfit in [
        SirSpec {
            ppg_uri: "sip:ppg@h;t=1",
            ..SPEC
        },
        SirSpec { ask: "x", ..SPEC },
        SirSpec {
            activate: Some(("a;t=1", When::Before)),
            ..SPEC
        },
    ] {
        let refused = Template::compile(&unfit, class).unwrap_err();
        assert_eq!(refused, TemplateError::Field, "{unfit:?}");
    }
    assert_eq!(
        Template::compile(&too_long, class).unwrap_err(),
        TemplateError::TooLong
    );
    assert_eq!(LengthClass::of(URI_MAX + 1, 0, &SPEC), None);
    assert_eq!(LengthClass::of(220, 40, &SPEC), None);
    assert_eq!(LengthClass::of(0, 0, &SPEC), None);
}

fn positions() -> impl Strategy<Value = DevicePosition> {
    prop_oneof![
        Just(DevicePosition::None),
        Just(DevicePosition::Header),
        Just(DevicePosition::Value),
        Just(DevicePosition::Body),
    ]
}

proptest! {
    #[test]
    fn template_agrees_with_the_writer(
        prefix in "sip:[+]?", user in "[a-z0-9.-]{1,40}", suffix in "@[a-z]{1,30}[.]example",
        device in "(urn:[a-z]{2,8}:[a-z0-9:-]{1,80})?", branch in "[0-9a-f]{32}",
        token in "[0-9a-f]{32}", device_position in positions(), routed: bool,
        expires_s in proptest::option::of(any::<u32>()),
        ask in "c?p?s?b?r?g?m?", app in proptest::option::of("[a-z.]{1,20}"), after: bool,
        key in proptest::option::of(any::<[u64; 2]>()),
    ) {
        let when = if after { When::After } else { When::Before };
        let activate = app.as_deref().map(|app| (app, when));
        let key = key.map(SirKey::new);
        let sealed = key.as_ref();
        let spec = SirSpec { device_position, routed, expires_s, ask: &ask, activate, sealed, ..SPEC };
        let slots = Slots {
            aor_prefix: prefix.as_bytes(),
            aor_user: user.as_bytes(),
            aor_suffix: suffix.as_bytes(),
            device: device.as_bytes(),
            branch: branch.as_bytes().try_into().unwrap(),
            token: token.as_bytes().try_into().unwrap(),
        };
        let rendered = render(&spec, &slots);
        prop_assert_eq!(
            without_padding(&rendered).escape_ascii().to_string(),
            oracle(&spec, &slots).escape_ascii().to_string()
        );
        let message = super::super::Message::parse(&rendered).unwrap();
        let sir = crate::sir::Sir::parse(message.body()).unwrap();
        if device.is_empty() || device_position == DevicePosition::None {
            prop_assert_eq!(sir.device(), None);
        } else {
            prop_assert_eq!(sir.device(), Some((device_position, device.as_bytes())));
        }
        prop_assert_eq!(sir.gateway(), SPEC.ppg_uri.as_bytes());
        prop_assert_eq!(sir.token(), Some(token.as_bytes()));
        prop_assert_eq!(sir.ask().letters(), ask.as_str());
        prop_assert_eq!(sir.activation(), app.as_ref().map(|app| (app.as_bytes(), when)));
        let aor = format!("{prefix}{user}{suffix}");
        let found = key.map(|key| key.check(&sir, aor.as_bytes()));
        prop_assert_eq!(found, key.map(|_| SealCheck::Authentic));
        prop_assert_eq!(SirKey::new([1, 2]).check(&sir, aor.as_bytes()), match key {
            Some(_) => SealCheck::Forged,
            None => SealCheck::Unsealed,
        });
    }
}
