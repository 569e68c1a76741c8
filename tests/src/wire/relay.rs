//! A relay between Envoy and sds-server that can change what Envoy is told.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

/// What is put in the place of what, in all that the server says; both of one length, so that no frame's length changes.
///
/// A passage that two reads or two frames share is left as it is: let it occur more than once where it must be met.
#[derive(Clone, Debug)]
pub struct Tampering {
    passage: &'static [u8],
    replacement: &'static [u8],
    on: Arc<AtomicBool>,
}

/// The relay; it ends with the value.
#[derive(Debug)]
pub(super) struct Relay(JoinHandle<()>);

impl Tampering {
    /// Replaces this by that, from the beginning.
    pub fn of(passage: &'static str, replacement: &'static str) -> Result<Self> {
        ensure!(passage.len() == replacement.len(), "{passage} and {replacement} differ in length");
        let (passage, replacement) = (passage.as_bytes(), replacement.as_bytes());
        Ok(Self { passage, replacement, on: Arc::new(AtomicBool::new(true)) })
    }

    /// Passes on as it is, or changes, what comes from now on.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    fn apply(&self, octets: &mut [u8]) {
        let length = self.passage.len();
        if !self.on.load(Ordering::SeqCst) || octets.len() < length {
            return;
        }
        for at in 0..=octets.len() - length {
            if let Some(found) = octets.get_mut(at..at + length)
                && found == self.passage
            {
                found.copy_from_slice(self.replacement);
            }
        }
    }
}

impl Relay {
    pub(super) fn listen(socket: &Path, server: &Path, tampering: &Tampering) -> Result<Self> {
        let listener = UnixListener::bind(socket).context("the relay cannot listen")?;
        std::fs::set_permissions(socket, Permissions::from_mode(0o666))?;
        let (server, tampering) = (server.to_path_buf(), tampering.clone());
        Ok(Self(tokio::spawn(async move {
            while let Ok((envoy, _)) = listener.accept().await {
                // Envoy comes again where the server does not listen yet.
                if let Ok(server) = UnixStream::connect(&server).await {
                    tokio::spawn(carry(envoy, server, tampering.clone()));
                }
            }
        })))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Carries both ways until either closes.
async fn carry(envoy: UnixStream, server: UnixStream, tampering: Tampering) {
    let (mut from_envoy, mut to_envoy) = envoy.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let said = async {
        let mut octets = Vec::with_capacity(64 * 1024);
        while from_server.read_buf(&mut octets).await? > 0 {
            tampering.apply(&mut octets);
            to_envoy.write_all(&octets).await?;
            octets.clear();
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        _ = said => {}
        _ = copy(&mut from_envoy, &mut to_server) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_whole_passage_is_replaced_while_switched_on() {
        let tampering = Tampering::of("deny", "none").unwrap();
        let apply = |text: &str| {
            let mut octets = text.as_bytes().to_vec();
            tampering.apply(&mut octets);
            String::from_utf8(octets).unwrap()
        };
        assert_eq!(apply("deny, denydeny, den"), "none, nonenone, den");
        assert_eq!(apply("de"), "de");
        tampering.switch(false);
        assert_eq!(apply("deny"), "deny");
        assert!(Tampering::of("deny", "no").is_err());
    }
}
