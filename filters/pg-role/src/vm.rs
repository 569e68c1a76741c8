//! The contexts of one VM.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use host_calls::{
    Action, Configured, ContextId, HostError, Level, NetworkFilter, Vm, configure, log,
    set_effective_context,
};

use crate::{
    configuration::{Configuration, read_and_share},
    session::{LeftBehind, Session},
    timer,
};

/// Root contexts, and the sessions of them all. No borrow is held during a call that may end in another callback.
#[derive(Debug, Default)]
pub(crate) struct PgRole {
    roots: RefCell<Vec<(ContextId, Rc<Configuration>)>>,
    sessions: RefCell<BTreeMap<ContextId, Rc<RefCell<Session>>>>,
    /// What new connections get. Sessions under an older one are judged again by it.
    newest: RefCell<Option<Rc<Configuration>>>,
    /// What the next tick has to cancel: by then Envoy has closed their connections.
    left_behind: RefCell<Vec<LeftBehind>>,
}

impl PgRole {
    fn install(&self, root: ContextId, configuration: Configuration) {
        let configuration = Rc::new(configuration);
        self.forget_root(root);
        self.roots.borrow_mut().push((root, Rc::clone(&configuration)));
        self.newest.replace(Some(configuration));
    }

    fn forget_root(&self, root: ContextId) {
        self.roots.borrow_mut().retain(|(known, _)| *known != root);
    }

    fn configuration(&self, root: ContextId) -> Rc<Configuration> {
        let roots = self.roots.borrow();
        let known = roots.iter().find(|(known, _)| *known == root);
        known.map_or_else(|| Rc::new(Configuration::deny_all()), |(_, known)| Rc::clone(known))
    }

    /// What new connections get, in this VM or another one.
    fn newest(&self) -> Option<Rc<Configuration>> {
        let newest = self.newest.borrow().clone()?;
        let Some(successor) = newest.successor() else { return Some(newest) };
        self.newest.replace(Some(Rc::new(successor)));
        self.newest.borrow().clone()
    }

    fn session(&self, connection: ContextId) -> Option<Rc<RefCell<Session>>> {
        self.sessions.borrow().get(&connection).map(Rc::clone)
    }

    /// Lets a session act. A failing host call ends it. `None`: it is unknown, or in the midst of another callback.
    fn act(
        &self,
        connection: ContextId,
        act: impl FnOnce(&mut Session) -> Result<(), HostError>,
    ) -> Option<()> {
        let session = self.session(connection)?;
        let mut session = session.try_borrow_mut().ok()?;
        if let Err(error) = act(&mut session) {
            let hung_up =
                session.hang_up("host_call_failed", &format!("a host call failed: {error}"));
            if let Err(error) = hung_up {
                log(Level::Error, &format!("cannot close connection {connection}: {error}"));
            }
        }
        self.left_behind.borrow_mut().extend(session.take_left_behind());
        Some(())
    }
}

impl Vm for PgRole {
    fn on_configure(&self, root: ContextId, size: usize) -> bool {
        match configure("signet_postgres", size, read_and_share) {
            Configured::Accepted(slice, fingerprint) => {
                self.install(root, Configuration::new(slice, fingerprint));
            }
            Configured::DenyAll => self.install(root, Configuration::deny_all()),
            Configured::Refused => return false,
        }
        // Without the timer nothing would ever be closed for its age.
        timer::start().is_ok()
    }

    fn on_tick(&self, _: ContextId) {
        // In the name of the root context, which is at hand here.
        self.left_behind.take().iter().for_each(LeftBehind::cancel);
        let Some(newest) = self.newest() else { return };
        let now = timer::now();
        let connections: Vec<ContextId> = self.sessions.borrow().keys().copied().collect();
        for connection in connections {
            // Host calls would concern another connection, or none.
            if let Err(error) = set_effective_context(connection) {
                log(Level::Error, &format!("cannot look after connection {connection}: {error}"));
                continue;
            }
            self.act(connection, |session| session.on_tick(now, &newest));
        }
    }
}

impl NetworkFilter for PgRole {
    fn on_context_create(&self, context: ContextId, parent: ContextId) {
        if parent == 0 {
            return;
        }
        let configuration = self.configuration(parent);
        configuration.metrics.connections.increment();
        let session = Rc::new(RefCell::new(Session::new(configuration)));
        self.sessions.borrow_mut().insert(context, session);
    }

    fn on_delete(&self, context: ContextId) {
        self.forget_root(context);
        let session = self.sessions.borrow_mut().remove(&context);
        let Some(session) = session else { return };
        if let Some(configuration) = self.newest.borrow().as_ref() {
            configuration.metrics.connections.decrement();
        }
        if let Ok(mut session) = session.try_borrow_mut() {
            session.on_close();
            self.left_behind.borrow_mut().extend(session.take_left_behind());
        }
    }

    fn on_new_connection(&self, _: ContextId) -> Action {
        Action::Pause
    }

    fn on_downstream_data(&self, connection: ContextId, size: usize, end: bool) -> Action {
        self.act(connection, |session| session.on_client_bytes(size, end));
        Action::Pause
    }

    fn on_upstream_data(&self, connection: ContextId, size: usize, end: bool) -> Action {
        match self.act(connection, |session| session.on_server_bytes(size, end)) {
            Some(()) => Action::Continue,
            None => Action::Pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Natively every host call fails, as one for a context that Envoy no longer knows.
    #[test]
    fn the_timer_leaves_alone_what_envoy_does_not_know() {
        let (root, connection) = (1, 2);
        let filter = PgRole::default();
        filter.install(root, Configuration::deny_all());
        filter.on_context_create(connection, root);
        let before = format!("{:?}", filter.session(connection));
        filter.on_tick(root);
        assert_eq!(format!("{:?}", filter.session(connection)), before);
    }
}
