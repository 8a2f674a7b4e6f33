//! One or two assumptions varied, all others kept: a table of one line of the plan, with every line of
//! every variant in the JSON. Called by `plan`.

use serde::{Deserialize, Serialize};

use super::assumptions::Assumptions;
use super::coefficients::Coefficients;
use super::sizing::{Line, Sizing};

/// Most values of an assumption: more would be no table.
const VALUES_MAX: usize = 50;

/// An assumption and its values, as they were typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// The assumption.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
}

/// One variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The values of the axes, in their order.
    pub values: Vec<String>,
    /// Its plan; empty where no record has its mode.
    pub lines: Vec<Line>,
}

/// The assumptions varied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    /// The line that is shown.
    pub figure: String,
    /// One or two axes: rows, then columns.
    pub axes: Vec<Axis>,
    /// Every variant, rows first.
    pub variants: Vec<Variant>,
}

/// Reads the axes and tries each of their values.
///
/// # Errors
/// In words: what to give instead.
pub fn axes(texts: &[String], plan: &Assumptions) -> Result<Vec<Axis>, String> {
    if texts.len() > 2 {
        return Err("--what-if varies two assumptions at most; run it again for others".to_owned());
    }
    let axis = |text: &String| {
        let (key, values) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is no KEY=A,B,.. such as subscribers=1M,10M,100M"))?;
        let values: Vec<String> = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        if values.len() > VALUES_MAX {
            return Err(format!(
                "{key} has {} values; give {VALUES_MAX} at most",
                values.len()
            ));
        }
        for value in &values {
            plan.with(&format!("{key}={value}"))
                .map_err(|error| error.to_string())?;
        }
        Ok(Axis {
            key: key.trim().to_owned(),
            values,
        })
    };
    let axes: Vec<Axis> = texts.iter().map(axis).collect::<Result<_, String>>()?;
    match axes.as_slice() {
        [one, other] if one.key == other.key => Err(format!("--what-if varies {} twice", one.key)),
        _ => Ok(axes),
    }
}

/// The plans of all variants; `None` without axes.
#[must_use]
pub fn vary(
    axes: &[Axis],
    figure: &str,
    plan: &Assumptions,
    measured: &Coefficients,
) -> Option<WhatIf> {
    let [rows, columns @ ..] = axes else {
        return None;
    };
    let mut variants = Vec::new();
    for row in &rows.values {
        let across: Vec<Vec<&String>> = match columns.first() {
            None => vec![vec![row]],
            Some(columns) => columns
                .values
                .iter()
                .map(|column| vec![row, column])
                .collect(),
        };
        for values in across {
            let assigned = axes.iter().zip(&values);
            // Each value was tried alone; two may still exclude each other.
            let varied = assigned
                .map(|(axis, value)| format!("{}={value}", axis.key))
                .try_fold(plan.clone(), |plan, assignment| plan.with(&assignment));
            let lines = varied
                .ok()
                .and_then(|plan| Some(Sizing::new(&plan, measured)?.lines()));
            variants.push(Variant {
                values: values.into_iter().cloned().collect(),
                lines: lines.unwrap_or_default(),
            });
        }
    }
    Some(WhatIf {
        figure: figure.to_owned(),
        axes: axes.to_vec(),
        variants,
    })
}

#[cfg(test)]
mod tests {
    use super::super::assumptions::tests::carrier;
    use super::*;

    #[test]
    fn axes_are_read_and_every_value_is_tried() {
        let plan = carrier();
        let read = |texts: &[&str]| {
            axes(
                &texts
                    .iter()
                    .map(|&text| text.to_owned())
                    .collect::<Vec<_>>(),
                &plan,
            )
        };
        let found = read(&["subscribers=1M, 10M", "mode=targeted,prior-art"]).expect("two axes");
        assert_eq!(
            (found[0].values.len(), found[1].values[1].as_str()),
            (2, "prior-art")
        );
        for (texts, words) in [
            (vec!["subscribers"], "KEY=A,B"),
            (vec!["subscribers=1M,many"], "subscribers"),
            (vec!["mode=targeted", "mode=prior-art"], "twice"),
            (vec!["a=1", "b=2", "c=3"], "two assumptions"),
        ] {
            let error = read(&texts).expect_err("no axes");
            assert!(error.contains(words), "{error}");
        }
    }
}
