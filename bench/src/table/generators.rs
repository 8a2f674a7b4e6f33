//! The generators of a bench that has several, one a line, beside the sum that the other rows show. Called
//! by `table`.

use comfy_table::{Cell, CellAlignment};

use super::empty;
use crate::quantity::grouped;
use crate::record::Record;

/// The lines; none where there is one generator.
pub fn text(record: &Record) -> String {
    if record.generators.len() < 2 {
        return String::new();
    }
    let heads = [
        "generator",
        "host",
        "edges",
        "SIRs received",
        "again",
        "lag p99",
        "CPU a SIR",
        "clock off",
        "began late",
    ];
    let mut table = empty(&heads);
    for one in &record.generators {
        // The host by its address, without the port, so that a line stays one.
        let peer = one.peer.as_deref().and_then(|peer| peer.rsplit_once(':'));
        let place = peer.map_or("child", |(address, _)| address);
        let last = one.edge_first + one.edges.saturating_sub(1);
        let figures = [
            format!("{} to {last}", one.edge_first),
            grouped(one.seen.sirs_received),
            grouped(one.retransmissions_received),
            format!("{:.0} us", one.seen.lag_us.p99),
            format!("{:.0} ns", one.seen.cpu_ns_per_sir),
            format!(
                "{:.0} us +- {:.0}",
                one.clock.offset_us, one.clock.uncertainty_us
            ),
            format!("{:.0} us", one.begin_late_us),
        ];
        let figures = figures.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        let names = [
            Cell::new(one.number),
            Cell::new(format!("{} ({place})", one.host)),
        ];
        table.add_row(names.into_iter().chain(figures));
    }
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sound;
    use crate::together::figures::GeneratorFigures;

    #[test]
    fn several_generators_are_shown_and_one_is_not() {
        let mut record = sound();
        let one = GeneratorFigures {
            number: 1,
            host: "alpha".to_owned(),
            edges: 8,
            ..GeneratorFigures::default()
        };
        record.generators = vec![one.clone()];
        assert_eq!(text(&record), "");
        let two = GeneratorFigures {
            number: 2,
            peer: Some("10.0.0.2:4711".to_owned()),
            edge_first: 8,
            ..one.clone()
        };
        record.generators = vec![one, two];
        let text = text(&record);
        assert!(
            text.contains("alpha (child)") && text.contains("10.0.0.2"),
            "{text}"
        );
        assert!(text.contains("8 to 15"), "{text}");
    }
}
