//! A histogram as the curve that is drawn of it: shares, and the value that holds from each on. As many
//! points as an eye tells apart when each further nine takes equal room. Numbers only.

/// Points between one nine and the next at most.
const POINTS_A_NINE: f64 = 20.0;

/// Nines after which all points are kept: few values are left there.
const NINES_MAX: f64 = 7.0;

/// The curve of `buckets`, values with their counts in rising order: of all values, the share of each pair
/// lies below its value. The first and the last are kept.
#[must_use]
pub fn curve(buckets: &[(u64, u64)]) -> Vec<(f64, f64)> {
    let count: u64 = buckets
        .iter()
        .fold(0, |sum, (_, count)| sum.saturating_add(*count));
    let filled: Vec<(u64, u64)> = buckets
        .iter()
        .copied()
        .filter(|(_, here)| *here > 0)
        .collect();
    let (mut points, mut seen, mut next) = (Vec::new(), 0_u64, 0.0);
    for (at, (value, here)) in filled.iter().enumerate() {
        let share = seen as f64 / count as f64;
        seen = seen.saturating_add(*here);
        let nines = -(1.0 - share).log10();
        if nines >= next || nines > NINES_MAX || at + 1 == filled.len() {
            points.push((share, *value as f64));
            next = nines + 1.0 / POINTS_A_NINE;
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_climbs_to_the_longest() {
        let points = curve(&[(10, 90), (15, 0), (20, 9), (500, 1)]);
        assert_eq!(points, [(0.0, 10.0), (0.9, 20.0), (0.99, 500.0)]);
        assert!(curve(&[]).is_empty() && curve(&[(1, 0)]).is_empty());
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_tail() {
        let many: Vec<(u64, u64)> = (0..100_000).map(|value| (value, 1)).collect();
        let points = curve(&many);
        assert!(points.len() < 110, "{}", points.len());
        assert_eq!(points[0], (0.0, 0.0));
        assert_eq!(points.last().unwrap().1, 99_999.0);
        let beyond = points.iter().filter(|(share, _)| *share >= 0.999).count();
        assert!(beyond > 15, "{beyond}");
    }
}
