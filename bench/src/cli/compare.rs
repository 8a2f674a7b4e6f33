//! Options of `sirocco compare`.

use std::path::PathBuf;

use clap::Args;

/// Options of `sirocco compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The record held against: a file of `sirocco bench --json`, or a folder of several.
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The record that is judged: a file, or a folder of several.
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Compare what was made on unlike machines, with unlike scenarios, or is invalid, all the same.
    #[arg(long)]
    pub force: bool,
    /// Change of a time or a rate that is let pass, such as 5%.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub threshold: f64,
    /// Confidence of the intervals, such as 95%.
    #[arg(long, value_name = "SHARE", default_value = "95%", value_parser = confidence)]
    pub confidence: f64,
    /// Write the comparison as JSON here; `-` is standard output.
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Show no table.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Reads a share in per cent: `5%`, from 0 to 100.
fn share(text: &str) -> Result<f64, String> {
    let number = text
        .strip_suffix('%')
        .and_then(|text| text.parse::<f64>().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("give a share in per cent, such as 5%".to_owned()),
    }
}

/// Reads a confidence: 50 % to 99.9 %.
fn confidence(text: &str) -> Result<f64, String> {
    match share(text) {
        Ok(share) if (0.5..=0.999).contains(&share) => Ok(share),
        _ => Err("give a confidence from 50% to 99.9%, such as 95%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_in_per_cent() {
        assert_eq!(share("5%"), Ok(0.05));
        for wrong in ["5", "0.05", "-1%", "101%", "NaN%", ""] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert!(confidence("99.99%").is_err());
    }
}
