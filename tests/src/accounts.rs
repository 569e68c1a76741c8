//! Who runs what.
//!
//! Postgres refuses to run as root, and peer authentication means something only if the Envoy in
//! front of Postgres is another user than Postgres itself. So a harness that runs as root gives
//! both to accounts that every Debian has. A harness that runs as somebody else can only be that
//! one: then all processes share its account, and the ident map is the only wall.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// A line of the system's passwd file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name that Postgres' peer authentication will see.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The number of the user's group.
    pub gid: u32,
}

/// The accounts of one run.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Who runs the harness, and becomes `postgres` in the database to set it up.
    pub harness: Account,
    /// Who runs Postgres.
    pub postgres: Account,
    /// Who runs the sidecars and their programs.
    pub mesh: Account,
}

impl Accounts {
    /// Chooses the accounts; needs `postgres` and `daemon` in passwd when run as root.
    pub fn choose() -> Result<Self> {
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let uid = rustix::process::getuid().as_raw();
        let harness = find(&passwd, |account| account.uid == uid)
            .with_context(|| format!("uid {uid} has no line in /etc/passwd"))?;
        if uid != 0 {
            return Ok(Self { postgres: harness.clone(), mesh: harness.clone(), harness });
        }
        Ok(Self { harness, postgres: named(&passwd, "postgres")?, mesh: named(&passwd, "daemon")? })
    }
}

impl Account {
    /// Gives a file or directory to this account.
    pub fn own(&self, path: &Path) -> Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("cannot give {} to {}", path.display(), self.name))
    }
}

fn named(passwd: &str, name: &str) -> Result<Account> {
    match find(passwd, |account| account.name == name) {
        Some(account) => Ok(account),
        None => bail!("no user {name} in /etc/passwd: run cargo xtask setup"),
    }
}

fn find(passwd: &str, wanted: impl Fn(&Account) -> bool) -> Option<Account> {
    passwd.lines().filter_map(parse).find(|account| wanted(account))
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_lines_become_accounts() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\npostgres:x:101:104::/:/bin/sh\n";
        let postgres = named(passwd, "postgres").unwrap();
        assert_eq!((postgres.uid, postgres.gid), (101, 104));
        assert!(named(passwd, "daemon").unwrap_err().to_string().contains("cargo xtask setup"));
    }
}
