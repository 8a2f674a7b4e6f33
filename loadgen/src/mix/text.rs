//! The short text form of a mix, read and written; scenario files carry it as one string.
//!
//! ```text
//! mix       = class *( "," class ) *( ";" override )
//! class     = [ name "=" ] behaviour ":" weight
//! behaviour = status [ "(retry-after=" seconds ")" ]
//!           | "silent" | "garbage"
//!           | "late(" delay "," status ")"           ; answered once, that late
//!           | "dup(" status "," copies ")"           ; so many extra copies
//!           | "lossy(" per-mille "," status ")"      ; so many transmissions in 1000 lost
//!           | "forged(" status ")"                   ; a branch that names no transaction
//! override  = [ name "=" ] "edges(" ranges [ ",on=" duration ] [ ",off=" duration ]
//!             [ ",phase=" duration ] "):" behaviour
//! ranges    = first [ "-" last ] *( "|" first [ "-" last ] )
//! duration  = digits ( "ms" | "s" )
//! delay     = duration | "uniform(" duration "," duration ")" | "exponential(" duration ")"
//!           | "lognormal(" duration "," sigma ")"
//! ```
//!
//! Example: `200:85,silent:10,late(600ms,200):5;edges(0-3,on=1s,off=4s):503(retry-after=1)`.
//! Called by the command line and by serde; the rules beyond grammar are in `Mix::validate`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Behaviour, Class, EdgeOverride, Mix, MixError};
use crate::session::DelayError;

/// The longest text accepted: 64 classes with names and parameters fit.
const TEXT_BYTES_MAX: usize = 8 * 1024;

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Mix, MixError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(MixError::Bounds(format!(
                "longer than {TEXT_BYTES_MAX} bytes"
            )));
        }
        let mut parts = split_outside_parentheses(text, ';').into_iter();
        let classes = parts.next().unwrap_or("");
        let mix = Mix {
            classes: split_outside_parentheses(classes, ',')
                .into_iter()
                .map(parse_class)
                .collect::<Result<_, _>>()?,
            edges: parts.map(parse_override).collect::<Result<_, _>>()?,
        };
        mix.validate()?;
        Ok(mix)
    }
}

fn syntax(near: &str, reason: &str) -> MixError {
    MixError::Syntax {
        near: near.trim().to_owned(),
        reason: reason.to_owned(),
    }
}

/// Splits at every `separator` that stands outside parentheses.
fn split_outside_parentheses(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0u32;
    let split = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && c == separator
    };
    text.split(split).map(str::trim).collect()
}

fn parse_class(text: &str) -> Result<Class, MixError> {
    let (name, rest) = split_name(text)?;
    let (behaviour, weight) = rest
        .rsplit_once(':')
        .ok_or_else(|| syntax(text, "a class is behaviour:weight, as in 200:90"))?;
    let behaviour = parse_behaviour(behaviour)?;
    let weight = number(weight, "the weight is a whole number, as in 200:90")?;
    let name = name.map_or_else(|| behaviour.default_name(), str::to_owned);
    Ok(Class {
        name,
        weight,
        behaviour,
    })
}

/// Splits an optional `name=` off; an equals sign inside parentheses is not one.
fn split_name(text: &str) -> Result<(Option<&str>, &str), MixError> {
    let Some((name, rest)) = text.split_once('=').filter(|(name, _)| !name.contains('(')) else {
        return Ok((None, text));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.trim().is_empty() || !name.trim().chars().all(plain) {
        return Err(syntax(
            text,
            "a name has letters, digits, '-', '_' and '.' only",
        ));
    }
    Ok((Some(name.trim()), rest.trim()))
}

fn parse_behaviour(text: &str) -> Result<Behaviour, MixError> {
    let (word, parameters) = match text.trim().split_once('(') {
        None => (text.trim(), ""),
        Some((word, rest)) => {
            let inner = rest
                .strip_suffix(')')
                .ok_or_else(|| syntax(text, "a `)` is missing"))?;
            (word.trim(), inner)
        }
    };
    let list: Vec<&str> = split_outside_parentheses(parameters, ',')
        .into_iter()
        .filter(|p| !p.is_empty())
        .collect();
    match (word, list.as_slice()) {
        ("silent", []) => Ok(Behaviour::Silent),
        ("garbage", []) => Ok(Behaviour::Garbage),
        ("late", [delay, status]) => Ok(Behaviour::Late {
            delay: delay
                .parse()
                .map_err(|error: DelayError| syntax(delay, &error.to_string()))?,
            status: status_code(status)?,
        }),
        ("dup", [status, copies]) => Ok(Behaviour::Duplicate {
            status: status_code(status)?,
            copies: number(copies, "dup(status,copies) wants a whole number of copies")?,
        }),
        ("lossy", [drop_per_mille, status]) => Ok(Behaviour::Lossy {
            drop_per_mille: number(drop_per_mille, "lossy(per-mille,status) wants 0..=1000")?,
            status: status_code(status)?,
        }),
        ("forged", [status]) => Ok(Behaviour::Forged {
            status: status_code(status)?,
        }),
        (status, []) if status.starts_with(|c: char| c.is_ascii_digit()) => Ok(Behaviour::Answer {
            status: status_code(status)?,
            retry_after_s: None,
        }),
        (status, [parameter]) if status.starts_with(|c: char| c.is_ascii_digit()) => {
            let seconds = parameter
                .strip_prefix("retry-after=")
                .ok_or_else(|| syntax(text, "the parameter of a status is retry-after=seconds"))?;
            let seconds = number(seconds, "retry-after wants whole seconds")?;
            Ok(Behaviour::Answer {
                status: status_code(status)?,
                retry_after_s: Some(seconds),
            })
        }
        _ => Err(syntax(
            text,
            "expected a status, silent, garbage, late(600ms,200), dup(200,2), lossy(100,200) \
             or forged(200)",
        )),
    }
}

fn parse_override(text: &str) -> Result<EdgeOverride, MixError> {
    let form = "an override is edges(0-3,on=1s,off=4s):503(retry-after=1)";
    let (name, rest) = split_name(text)?;
    let rest = rest
        .strip_prefix("edges(")
        .ok_or_else(|| syntax(text, form))?;
    let (scope, rest) = rest.split_once(')').ok_or_else(|| syntax(text, form))?;
    let behaviour = rest
        .trim()
        .strip_prefix(':')
        .ok_or_else(|| syntax(text, form))?;
    let behaviour = parse_behaviour(behaviour)?;
    let mut parameters = scope.split(',').map(str::trim);
    let ranges = parameters
        .next()
        .unwrap_or("")
        .split('|')
        .map(parse_range)
        .collect::<Result<Vec<_>, _>>()?;
    let name = name.map_or_else(
        || format!("edges-{}", behaviour.default_name()),
        str::to_owned,
    );
    let mut edge = EdgeOverride {
        name,
        ranges,
        on_ms: 1_000,
        off_ms: 0,
        phase_ms: 0,
        behaviour,
    };
    for parameter in parameters {
        match parameter.split_once('=') {
            Some(("on", value)) => edge.on_ms = duration_ms(value)?,
            Some(("off", value)) => edge.off_ms = duration_ms(value)?,
            Some(("phase", value)) => edge.phase_ms = duration_ms(value)?,
            _ => {
                return Err(syntax(
                    parameter,
                    "expected on=, off= or phase= with a duration",
                ));
            }
        }
    }
    Ok(edge)
}

fn parse_range(text: &str) -> Result<(u16, u16), MixError> {
    let reason = "an edge range is 0 or 0-3, joined by |";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok((number(first, reason)?, number(last, reason)?))
}

fn number<T: FromStr>(text: &str, reason: &str) -> Result<T, MixError> {
    text.trim().parse().map_err(|_| syntax(text, reason))
}

fn status_code(text: &str) -> Result<u16, MixError> {
    number(text, "expected a status code such as 200")
}

fn duration_ms(text: &str) -> Result<u32, MixError> {
    let reason = "a duration has a unit, as in 600ms or 2s";
    let (digits, factor) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1_000),
        (None, None) => return Err(syntax(text, reason)),
    };
    let value: u32 = number(digits, reason)?;
    value
        .checked_mul(factor)
        .ok_or_else(|| syntax(text, "the duration is too long"))
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, class) in self.classes.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(
                f,
                "{comma}{}={}:{}",
                class.name, class.behaviour, class.weight
            )?;
        }
        for edge in &self.edges {
            write!(f, ";{}=edges(", edge.name)?;
            for (index, (first, last)) in edge.ranges.iter().enumerate() {
                let bar = if index == 0 { "" } else { "|" };
                write!(f, "{bar}{first}-{last}")?;
            }
            let EdgeOverride {
                on_ms,
                off_ms,
                phase_ms,
                behaviour,
                ..
            } = edge;
            write!(
                f,
                ",on={on_ms}ms,off={off_ms}ms,phase={phase_ms}ms):{behaviour}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Behaviour::Answer {
                status,
                retry_after_s: None,
            } => write!(f, "{status}"),
            Behaviour::Answer {
                status,
                retry_after_s: Some(seconds),
            } => {
                write!(f, "{status}(retry-after={seconds})")
            }
            Behaviour::Silent => f.write_str("silent"),
            Behaviour::Late { delay, status } => write!(f, "late({delay},{status})"),
            Behaviour::Duplicate { status, copies } => write!(f, "dup({status},{copies})"),
            Behaviour::Lossy {
                drop_per_mille,
                status,
            } => {
                write!(f, "lossy({drop_per_mille},{status})")
            }
            Behaviour::Garbage => f.write_str("garbage"),
            Behaviour::Forged { status } => write!(f, "forged({status})"),
        }
    }
}

impl Serialize for Mix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A mix in a scenario file: the short text, or its parts spelled out.
#[derive(Deserialize)]
#[serde(untagged)]
enum MixForm {
    Text(String),
    Parts {
        classes: Vec<Class>,
        #[serde(default)]
        edges: Vec<EdgeOverride>,
    },
}

impl<'de> Deserialize<'de> for Mix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mix, D::Error> {
        use serde::de::Error;
        match MixForm::deserialize(deserializer)? {
            MixForm::Text(text) => text.parse().map_err(D::Error::custom),
            MixForm::Parts { classes, edges } => {
                let mix = Mix { classes, edges };
                mix.validate().map_err(D::Error::custom)?;
                Ok(mix)
            }
        }
    }
}
