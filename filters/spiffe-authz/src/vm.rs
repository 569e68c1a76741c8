//! The policies of one VM, and which of them judges a request.

use std::cell::RefCell;
use std::rc::Rc;

use host_calls::{
    Action, Configured, ContextId, HostError, HttpFilter, Level, Vm, configure, log, property,
    set_tick_period_milliseconds,
};
use signet_policy::Slice;

use crate::{configuration::Configuration, request};

/// How often counts are handed to Envoy.
const TICK_MILLISECONDS: u32 = 1_000;

/// The SPIFFE ID of Envoy's own certificate on the connection at hand.
const OWN_ID: &str = "connection\0uri_san_local_certificate";

/// What is in force: for each workload the newest policy that was accepted. An update finds its predecessor by that, so
/// one counts for all requests that begin after it, and a request needs no context of its own.
///
/// Nearly always there is one. There are more where listeners of several identities share a `vm_id`, or where Envoy's
/// identity changed; then the certificate that the connection shows says whose policy is asked for.
#[derive(Debug, Default)]
pub(crate) struct SpiffeAuthz(RefCell<Vec<Rc<Configuration>>>);

impl SpiffeAuthz {
    /// The policy for the request at hand. Where none is for it, everything is denied.
    fn configuration(&self) -> Result<Rc<Configuration>, HostError> {
        let known = self.0.borrow();
        if let [only] = known.as_slice() {
            return Ok(Rc::clone(only));
        }
        let own_id = property(OWN_ID)?.unwrap_or_default();
        let is_its = |known: &&Rc<Configuration>| known.policy.workload().as_bytes() == own_id;
        let found = known.iter().find(is_its).map(Rc::clone);
        Ok(found.unwrap_or_else(|| Rc::new(Configuration::deny_all())))
    }

    /// Takes in a slice. It says of all that are withdrawn; one that it does not name any more is no longer.
    fn accept(&self, slice: Slice) {
        self.0.borrow_mut().retain(|old| !old.policy.is_withdrawn());
        for id in slice.withdrawn.iter().filter(|id| **id != slice.workload) {
            self.install(Configuration::new(Slice::withdrawn(id)));
        }
        self.install(Configuration::new(slice));
    }

    fn install(&self, configuration: Configuration) {
        let workload = configuration.policy.workload();
        let mut known = self.0.borrow_mut();
        // What denies all for want of a policy is nobody's, and the first good one takes its place.
        known.retain(|old| !["", workload].contains(&old.policy.workload()));
        known.push(Rc::new(configuration));
    }
}

impl Vm for SpiffeAuthz {
    fn on_configure(&self, _root: ContextId, size: usize) -> bool {
        match configure("signet_http", size, Slice::http_from_json) {
            Configured::Accepted(slice, _) => self.accept(slice),
            Configured::DenyAll => {
                self.0.borrow_mut().clear();
                self.install(Configuration::deny_all());
            }
            Configured::Refused => return false,
        }
        if let Err(error) = set_tick_period_milliseconds(TICK_MILLISECONDS) {
            log(Level::Warn, &format!("decisions will not be counted: no timer: {error}"));
        }
        true
    }

    fn on_tick(&self, _root: ContextId) {
        self.0.borrow().iter().for_each(|known| known.metrics.hand_over());
    }
}

impl HttpFilter for SpiffeAuthz {
    fn on_request_headers(&self) -> Action {
        request::decide(self.configuration())
    }

    fn on_request_trailers(&self) -> Action {
        let stripped =
            self.configuration().and_then(|configuration| configuration.forgeries.strip_trailers());
        match stripped {
            Ok(()) => Action::Continue,
            // Trailers that cannot be cleaned do not go on.
            Err(_) => Action::Pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(workloads: &[&str]) -> Vec<String> {
        let slices = workloads.iter().map(|workload| Slice::deny_all(workload));
        accepted(slices).into_iter().map(|(workload, _)| workload).collect()
    }

    /// The workloads that have a policy after these slices, and whether they are withdrawn.
    fn accepted(slices: impl IntoIterator<Item = Slice>) -> Vec<(String, bool)> {
        let filter = SpiffeAuthz::default();
        slices.into_iter().for_each(|slice| filter.accept(slice));
        let known = filter.0.borrow();
        let known = known.iter().map(|known| &known.policy);
        known.map(|policy| (policy.workload().to_owned(), policy.is_withdrawn())).collect()
    }

    #[test]
    fn who_is_withdrawn_is_denied_by_any_slice_that_says_so_and_until_one_does_not() {
        let (a, b) = ("spiffe://x.org/a", "spiffe://x.org/b");
        let known = |list: &[(&str, bool)]| {
            list.iter().map(|(id, withdrawn)| ((*id).to_owned(), *withdrawn)).collect::<Vec<_>>()
        };
        let b_without_a = Slice { withdrawn: vec![a.to_owned()], ..Slice::deny_all(b) };
        let good = Slice::deny_all;
        for (slices, after) in [
            (vec![good(a), Slice::withdrawn(a)], known(&[(a, true)])),
            (vec![good(a), Slice::withdrawn(a), good(a)], known(&[(a, false)])),
            // Another identity took its place: what shows the old certificate is denied still.
            (vec![good(a), b_without_a.clone()], known(&[(a, true), (b, false)])),
            (vec![b_without_a.clone()], known(&[(a, true), (b, false)])),
            (vec![good(a), b_without_a, good(b)], known(&[(b, false)])),
        ] {
            assert_eq!(accepted(slices), after);
        }
    }

    #[test]
    fn a_policy_takes_the_place_of_that_of_its_workload_and_of_a_missing_one() {
        let (a, b) = ("spiffe://x.org/a", "spiffe://x.org/b");
        assert_eq!(installed(&[a, a]), [a]);
        assert_eq!(installed(&[a, b, a]), [b, a]);
        assert_eq!(installed(&["", a]), [a]);
    }

    #[test]
    fn of_several_policies_none_counts_where_the_connection_cannot_be_asked() {
        let filter = SpiffeAuthz::default();
        assert!(filter.configuration().is_err_and(|error| error == HostError::Unimplemented));
        filter.install(Configuration::deny_all());
        assert!(filter.configuration().is_ok());
    }
}
