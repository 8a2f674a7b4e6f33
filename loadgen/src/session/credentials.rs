//! Who a device is to a server that asks: user names and passwords by template or from a file, and the
//! request that is sent again with the answer to a challenge.
//!
//! A challenge is answered twice at most for each request: the second time only says that the nonce was
//! stale. Called by `dialog` for 401 and 407.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sirocco_wire::sip::Message;

use super::calls::Calls;
use super::digest::{Answer, Challenge};
use super::name::Name;
use super::outgoing::{registrar, remote};
use super::table::{State, Text};
use super::write::user;
use crate::hash::seeded;

/// Challenges answered for one request.
const CHALLENGES_MAX: u8 = 2;
const NONCE_SALT: u64 = 0x636e_6f6e_6365;

/// What devices answer challenges with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Credentials {
    /// The user name; `{user}` stands for the user part of the identity, `{aor}` for all of it.
    pub user: String,
    /// The password, with the same words.
    pub password: String,
    /// Passwords by user name, one `name<TAB>password` a line; those that are not there have `password`.
    pub file: Option<PathBuf>,
}

impl Default for Credentials {
    fn default() -> Credentials {
        Credentials {
            user: "{user}".to_owned(),
            password: "{user}".to_owned(),
            file: None,
        }
    }
}

/// Credentials whose file has been read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    user: String,
    password: String,
    by_user: HashMap<String, String>,
}

impl Accounts {
    /// Reads the file, if one is named.
    pub(crate) fn read(credentials: &Credentials) -> Result<Accounts, String> {
        let path = credentials.file.as_deref();
        Ok(Accounts {
            user: credentials.user.clone(),
            password: credentials.password.clone(),
            by_user: path.map_or(Ok(HashMap::new()), passwords)?,
        })
    }

    /// Returns user name and password of an identity.
    fn of(&self, aor: &[u8]) -> (String, String) {
        let fill = |template: &str| {
            let user = String::from_utf8_lossy(user(aor));
            let filled = template.replace("{user}", &user);
            filled.replace("{aor}", &String::from_utf8_lossy(aor))
        };
        let name = fill(&self.user);
        let password = self.by_user.get(&name).cloned();
        let password = password.unwrap_or_else(|| fill(&self.password));
        (name, password)
    }
}

fn passwords(path: &Path) -> Result<HashMap<String, String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let pair = |(at, line): (usize, &str)| {
        let pair = line.split_once('\t');
        let (name, password) =
            pair.ok_or_else(|| format!("line {}: write a name, a tab, a password", at + 1))?;
        Ok((name.to_owned(), password.to_owned()))
    };
    lines.map(pair).collect()
}

impl Calls {
    /// Sends the request that is out again with the answer to a challenge; false when `message` is none,
    /// there are no credentials, or the challenge cannot be answered.
    pub(super) fn challenged(&mut self, now_ns: u64, name: Name, message: &Message<'_>) -> bool {
        let (asked_in, answered_in) = match message.status_code() {
            Some(401) => (&b"WWW-Authenticate"[..], &b"Authorization"[..]),
            Some(407) => (&b"Proxy-Authenticate"[..], &b"Proxy-Authorization"[..]),
            _ => return false,
        };
        // RFC 8760 2.4: the topmost challenge that is understood.
        let asked = message
            .headers()
            .filter(|(_, field, _)| field.eq_ignore_ascii_case(asked_in))
            .find_map(|(_, _, value)| Challenge::parse(value));
        let Some(line) = asked.and_then(|asked| self.answer(name, answered_in, &asked)) else {
            return false;
        };
        let t1_ns = self.config.t1_ns;
        if let Some(long) = self.table.long(name) {
            // A proxy and the registrar behind it may both ask; each line answers one of them.
            let lines = long.credentials.split_inclusive(|&octet| octet == b'\n');
            let others = lines.filter(|line| !line.starts_with(answered_in));
            long.credentials = others.chain([&line[..]]).flatten().copied().collect();
        }
        let Some(call) = self.table.live(name) else {
            return false;
        };
        // RFC 3261 22.2: the same Call-ID, the next number.
        (call.cseq, call.challenges) = (call.cseq.wrapping_add(1), call.challenges + 1);
        (call.sends, call.started_ns) = (0, now_ns);
        if call.state == State::Proceeding {
            call.state = State::Inviting;
        }
        let class = call.class;
        self.sheet(class).counts.challenges += 1;
        self.send(name);
        self.arm(now_ns, name, t1_ns);
        true
    }

    fn answer(&mut self, name: Name, field: &[u8], asked: &Challenge<'_>) -> Option<Vec<u8>> {
        let accounts = self.config.accounts.as_ref()?;
        let (call, long) = self.table.with_long(name)?;
        if call.challenges >= CHALLENGES_MAX {
            return None;
        }
        let ppg = &self.ppgs[usize::from(call.ppg)];
        let token = call.text(Text::Token);
        let (method, uri): (&[u8], Vec<u8>) = match call.state {
            State::Registering => (b"REGISTER", registrar(ppg.uri(), token).concat()),
            State::Telling => (b"MESSAGE", ppg.invite_uri(token).concat()),
            State::Hanging | State::Parting => (b"BYE", remote(call, long).target.to_vec()),
            State::Inviting | State::Proceeding => (b"INVITE", ppg.invite_uri(token).concat()),
            _ => return None,
        };
        let (user, password) = accounts.of(call.text(Text::Aor));
        let unique = u64::from(name.slot) << 32 | u64::from(name.generation);
        let salted = seeded(self.config.seed ^ NONCE_SALT, unique);
        let client_nonce = format!("{:016x}", seeded(salted, u64::from(call.cseq)));
        let answer = Answer {
            user: user.as_bytes(),
            password: password.as_bytes(),
            method,
            uri: &uri,
            client_nonce: client_nonce.as_bytes(),
        };
        Some(asked.answer(field, &answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_come_by_template_or_from_a_file() {
        let accounts = Accounts {
            user: "{user}@x".to_owned(),
            password: "pw-{aor}".to_owned(),
            by_user: [("bob@x".to_owned(), "secret".to_owned())].into(),
        };
        let of = |aor: &str| accounts.of(aor.as_bytes());
        assert_eq!(of("sip:bob@b").1, "secret");
        let (name, password) = of("sip:alice@a");
        assert_eq!(
            (name.as_str(), password.as_str()),
            ("alice@x", "pw-sip:alice@a")
        );
    }
}
