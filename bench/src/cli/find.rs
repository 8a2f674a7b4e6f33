//! Options of `sirocco bench --find-max`: what counts as carried, how finely and how long to search, and
//! by whose method. Parsing only; `find` reads them.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::find::criterion::Criterion;
use crate::quantity::{self, Rate};

/// By whose rules the limit is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Bracket, bisect several times, hold, and draw the knee.
    #[default]
    Bisect,
    /// Session establishment rate of RFC 7502 4.10: no failure in N attempts.
    Rfc7502,
    /// Design objective capacity of ETSI TS 186 008: the highest step with 0.1 % inadequately handled.
    Etsi,
}

/// Options of the search; what is left out comes from the scenario's `[limit]` or from here.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Find the limit")]
pub struct FindArgs {
    /// Find the greatest rate that meets the criterion, instead of measuring one.
    #[arg(long)]
    pub find_max: bool,
    /// Method [default: bisect].
    #[arg(long, value_enum, requires = "find_max")]
    pub method: Option<Method>,
    /// What a rate has to meet, such as "p99<=5ms, loss<=0, ihs(1s)<=0.1%".
    #[arg(long, value_name = "BOUNDS", requires = "find_max")]
    pub criterion: Option<Criterion>,
    /// Width at which a bisection ends, as a share [default: 2%].
    #[arg(long, value_name = "SHARE", requires = "find_max", value_parser = quantity::share)]
    pub resolution: Option<f64>,
    /// Time for the whole search [default: 120s].
    #[arg(long, value_name = "S", requires = "find_max", value_parser = quantity::duration)]
    pub budget: Option<Duration>,
    /// First rate [default: a quarter of the closed loop's].
    #[arg(long, value_name = "R", requires = "find_max")]
    pub start: Option<Rate>,
    /// Counted length of one probe, or of a step by ETSI [default: 1s].
    #[arg(long, value_name = "S", requires = "find_max", value_parser = quantity::duration)]
    pub probe: Option<Duration>,
    /// Counted length of one confirming hold [default: three probes].
    #[arg(long, value_name = "S", requires = "find_max", value_parser = quantity::duration)]
    pub hold: Option<Duration>,
    /// Confirming holds, at least 3 [default: 3].
    #[arg(long, value_name = "N", requires = "find_max", value_parser = quantity::small_count)]
    pub holds: Option<u16>,
    /// Independent bisections that the interval comes from [default: 6].
    #[arg(long, value_name = "N", requires = "find_max", value_parser = quantity::small_count)]
    pub bisections: Option<u16>,
    /// Rate that has to be reached: exit code 1 below it.
    #[arg(long, value_name = "R", requires = "find_max")]
    pub objective: Option<Rate>,
    /// RFC 7502: N, attempts in one iteration [default: 50000, or a second's worth].
    #[arg(long, value_name = "N", requires = "find_max", value_parser = quantity::count)]
    pub attempts: Option<u64>,
    /// ETSI: attempts a second added at each step [default: a twentieth of the closed loop's].
    #[arg(long, value_name = "R", requires = "find_max")]
    pub step: Option<Rate>,
}
