//! Who runs what.
//!
//! Postgres refuses to run as root, and peer authentication means something only if the Envoy in
//! front of Postgres is another user than Postgres itself. So a harness that runs as root gives
//! both to accounts that every Debian has. A harness that runs as somebody else can only be that
//! one: then all processes share its account, and the tests of who is kept out fail for want of anybody.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

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

    /// Everybody but Envoy's user, to show that they are kept out. An error where all are one, and nothing could be shown.
    pub fn strangers(&self) -> Result<[&Account; 2]> {
        let strangers = [&self.harness, &self.postgres];
        ensure!(!strangers.contains(&&self.mesh), "run it as root: there is nobody to keep out");
        Ok(strangers)
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
    fn who_is_alone_keeps_nobody_out() {
        let account = |name: &str| Account { name: name.to_owned(), uid: 1, gid: 1 };
        let [root, postgres, daemon] = ["root", "postgres", "daemon"].map(account);
        let three = Accounts { harness: root.clone(), postgres, mesh: daemon };
        assert_eq!(three.strangers().unwrap().map(|it| it.name.as_str()), ["root", "postgres"]);
        let one = Accounts { harness: root.clone(), postgres: root.clone(), mesh: root };
        assert!(one.strangers().is_err());
    }

    #[test]
    fn passwd_lines_become_accounts() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\npostgres:x:101:104::/:/bin/sh\n";
        let postgres = named(passwd, "postgres").unwrap();
        assert_eq!((postgres.uid, postgres.gid), (101, 104));
        assert!(named(passwd, "daemon").unwrap_err().to_string().contains("cargo xtask setup"));
    }
}
