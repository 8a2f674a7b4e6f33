//! Defaults, bounds, and that every key of a scenario is documented.

use super::*;

#[test]
fn the_default_is_valid_and_survives_json() {
    let config = LoadgenConfig::default();
    config.validate().unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<LoadgenConfig>(&json).unwrap(),
        config
    );
    assert_eq!(serde_json::from_str::<LoadgenConfig>("{}").unwrap(), config);
    assert!(serde_json::from_str::<LoadgenConfig>(r#"{"sead":1}"#).is_err());
}

#[test]
fn bounds_are_held_and_named() {
    let refused = |change: fn(&mut LoadgenConfig)| {
        let mut config = LoadgenConfig::default();
        change(&mut config);
        config.validate().expect_err("out of bounds").to_string()
    };
    let edges = |count, port_base| Place::Edges {
        count,
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port_base,
    };
    assert!(refused(|c| c.seen_entries = 1).contains("seen_entries"));
    assert!(refused(|c| c.late_slots = LATE_SLOTS_MAX + 1).contains("late_slots"));
    assert!(refused(|c| c.train_segments = 129).contains("1 to 128"));
    let mut config = LoadgenConfig {
        place: edges(0, 0),
        ..LoadgenConfig::default()
    };
    assert!(config.validate().unwrap_err().to_string().contains("edges"));
    config.place = edges(1024, 65_000);
    assert!(
        config
            .validate()
            .unwrap_err()
            .to_string()
            .contains("lower port_base")
    );
    config.place = edges(536, 65_000);
    config.validate().unwrap();
    config.place = Place::Direct { port: 5060 };
    config.mix = "200:1;edges(0):503".parse().unwrap();
    assert_eq!(config.validate(), Err(ConfigError::NoEdges));
}

/// The keys of a table as serde writes them.
fn keys<T: Serialize>(value: &T) -> Vec<String> {
    let value = serde_json::to_value(value).unwrap();
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let document = include_str!("../../../docs/loadgen.md");
    let from = document.find("## Keys of the file").unwrap();
    let to = document.find("## What the report says").unwrap();
    // What stands between backquotes in the first cells of tables.
    let documented: Vec<&str> = document[from..to]
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|row| row.split(" | ").next().unwrap().split('`').step_by(2))
        .collect();
    let prose = &document[from..to];
    let policy = SessionPolicy::default();
    let mut all = keys(&LoadgenConfig::default());
    all.extend(keys(&policy));
    for table in [
        keys(&Invite::default()),
        keys(&Flood::default()),
        keys(&Register::default()),
        keys(&Disturbance::default()),
        keys(&policy.device),
        keys(&Credentials::default()),
        keys(&ClassConfig {
            name: String::new(),
            weight: 1,
            answer: class::ok(),
            answer_time: crate::session::Delay::None,
            session: None,
        }),
    ] {
        for key in &table {
            assert!(
                prose.contains(&format!("`{key}`")),
                "`{key}` is not documented"
            );
        }
        all.extend(table);
    }
    for key in keys(&LoadgenConfig::default()).iter().chain(&keys(&policy)) {
        let is_there = documented
            .iter()
            .any(|word| word.split('.').next() == Some(key));
        assert!(is_there, "`{key}` has no row");
    }
    for word in documented {
        let key = word.trim_matches(['[', ']']);
        let key = key.split('.').next().unwrap();
        assert!(all.iter().any(|one| one == key), "there is no `{word}`");
    }
}
