//! Erlang's formulas for what is held: B, where who finds no place is refused, and C, where he waits.
//! Poisson arrivals and enough sources are their assumptions; storms break them, and nothing here says how
//! much. Called by `sizing`, for the places of sessions and of the windows.

/// Most places that are looked for: beyond it the recursion would take seconds.
const PLACES_MAX: u64 = 1 << 27;

/// Share of arrivals that find all `places` taken and are refused, at `erlangs` offered (Erlang B). By the
/// recursion 1/B(n) = 1 + n/A 1/B(n-1), which neither overflows nor cancels.
#[must_use]
#[cfg(test)]
fn refused_share(erlangs: f64, places: u64) -> f64 {
    let inverse = (1..=places).fold(1.0, |inverse, n| 1.0 + inverse * n as f64 / erlangs);
    1.0 / inverse
}

/// Fewest places at which at most `share` of the arrivals is refused (Erlang B); `None` beyond 2^27 places
/// or where no number is enough.
#[must_use]
pub fn places_refusing(erlangs: f64, share: f64) -> Option<u64> {
    places(erlangs, |_, inverse| 1.0 / inverse <= share)
}

/// Fewest places at which at most `share` of the arrivals has to wait (Erlang C); `None` as above.
#[must_use]
pub fn places_waiting(erlangs: f64, share: f64) -> Option<u64> {
    places(erlangs, |n, inverse| {
        waiting_share(erlangs, n, inverse) <= share
    })
}

/// Erlang C out of 1/B: C = n B / (n - A (1 - B)); 1 where more is offered than there are places.
fn waiting_share(erlangs: f64, places: f64, inverse: f64) -> f64 {
    if places <= erlangs {
        return 1.0;
    }
    let refused = 1.0 / inverse;
    places * refused / (places - erlangs * (1.0 - refused))
}

/// The first number of places for which `enough(places, 1/B)` holds.
fn places(erlangs: f64, enough: impl Fn(f64, f64) -> bool) -> Option<u64> {
    if erlangs <= 0.0 {
        return Some(0);
    }
    let mut inverse = 1.0_f64;
    for n in 1..=PLACES_MAX {
        inverse = 1.0 + inverse * n as f64 / erlangs;
        if enough(n as f64, inverse) {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numerator and denominator of Erlang B by its definition, (A^n/n!) / sum A^k/k!, both times n!: whole
    /// numbers without a rounding.
    fn exactly(erlangs: u128, places: u128) -> (u128, u128) {
        let mut sum = 0u128;
        let mut term = 1u128;
        // From k = n down: A^k n!/k!.
        let top = (0..places).fold(1u128, |power, _| power * erlangs);
        for k in 0..=places {
            if k > 0 {
                term = term.checked_mul(erlangs).expect("small numbers");
            }
            let rest = (k + 1..=places).product::<u128>();
            sum += term * rest;
        }
        (top, sum)
    }

    #[test]
    fn the_recursion_is_the_sum_in_whole_numbers() {
        for erlangs in 1..=12u128 {
            for places in 0..=20u128 {
                let (top, sum) = exactly(erlangs, places);
                let exact = top as f64 / sum as f64;
                let share = refused_share(erlangs as f64, places as u64);
                assert!(
                    (share / exact - 1.0).abs() < 1e-13,
                    "{erlangs} erlangs, {places} places: {share} and {exact}"
                );
            }
        }
    }

    /// 1/B(n, A) is the integral of exp(-t) (1 + t/A)^n over t >= 0, whatever the recursion says.
    #[test]
    fn large_systems_agree_with_the_integral() {
        for (erlangs, places) in [(100.0, 117u64), (1_000.0, 1_050), (20_000.0, 20_300)] {
            let n = places as f64;
            let exponent = |t: f64| n * (1.0 + t / erlangs).ln() - t;
            let top = exponent((n - erlangs).max(0.0));
            let end = (n - erlangs).max(0.0) + 60.0 * n.sqrt() + 100.0;
            let steps = 400_000;
            let step = end / f64::from(steps);
            let sum: f64 = (0..=steps)
                .map(|i| {
                    let weight = match i {
                        0 => 1.0,
                        i if i == steps => 1.0,
                        i if i % 2 == 1 => 4.0,
                        _ => 2.0,
                    };
                    weight * (exponent(f64::from(i) * step) - top).exp()
                })
                .sum();
            let integral = sum * step / 3.0 * top.exp();
            let share = refused_share(erlangs, places);
            assert!(
                (share * integral - 1.0).abs() < 1e-6,
                "{erlangs} erlangs, {places} places: {share} and {}",
                1.0 / integral
            );
        }
    }

    /// Waiting in M/M/n by its stationary distribution, summed state by state.
    #[test]
    fn who_waits_is_who_finds_all_places_taken_in_the_stationary_distribution() {
        for (erlangs, places) in [(3.0, 5u64), (10.0, 12), (50.0, 60)] {
            let n = places as f64;
            let (mut below, mut term) = (0.0, 1.0);
            for k in 0..places {
                below += term;
                term *= erlangs / (k + 1) as f64;
            }
            let mut above = 0.0;
            for _ in 0..20_000 {
                above += term;
                term *= erlangs / n;
            }
            let inverse = 1.0 / refused_share(erlangs, places);
            let share = waiting_share(erlangs, n, inverse);
            assert!((share - above / (above + below)).abs() < 1e-12, "{share}");
        }
    }

    #[test]
    fn the_fewest_places_are_enough_and_one_less_is_not() {
        for erlangs in [0.1, 1.0, 25.0, 400.0, 30_000.0] {
            let places = places_refusing(erlangs, 0.001).expect("few places");
            assert!(refused_share(erlangs, places) <= 0.001);
            assert!(refused_share(erlangs, places - 1) > 0.001);
            let waiting = places_waiting(erlangs, 0.001).expect("few places");
            assert!(waiting >= places, "{waiting} and {places}");
        }
        assert_eq!(places_refusing(0.0, 0.001), Some(0));
        assert_eq!(places_refusing(1e12, 0.001), None);
    }
}
