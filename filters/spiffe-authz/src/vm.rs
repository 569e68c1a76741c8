//! The contexts of one VM.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use host_calls::{Action, Configured, ContextId, HttpFilter, Vm, configure};
use signet_policy::Slice;

use crate::{configuration::Configuration, request, told_headers};

/// Root contexts and requests, each with its policy: a request keeps the one that it began with.
#[derive(Debug, Default)]
pub(crate) struct SpiffeAuthz {
    contexts: RefCell<BTreeMap<ContextId, Rc<Configuration>>>,
}

impl SpiffeAuthz {
    fn configuration(&self, context: ContextId) -> Rc<Configuration> {
        let known = self.contexts.borrow().get(&context).map(Rc::clone);
        known.unwrap_or_else(|| Rc::new(Configuration::deny_all()))
    }

    fn install(&self, context: ContextId, configuration: Rc<Configuration>) {
        self.contexts.borrow_mut().insert(context, configuration);
    }
}

impl Vm for SpiffeAuthz {
    fn on_context_create(&self, context: ContextId, parent: ContextId) {
        self.install(context, self.configuration(parent));
    }

    fn on_configure(&self, root: ContextId, size: usize) -> bool {
        match configure("signet_http", size, Slice::http_from_json) {
            Configured::Accepted(slice, _) => {
                self.install(root, Rc::new(Configuration::new(slice)));
            }
            Configured::DenyAll => self.install(root, Rc::new(Configuration::deny_all())),
            Configured::Refused => return false,
        }
        true
    }

    fn on_delete(&self, context: ContextId) {
        self.contexts.borrow_mut().remove(&context);
    }
}

impl HttpFilter for SpiffeAuthz {
    fn on_request_headers(&self, request: ContextId) -> Action {
        request::decide(&self.configuration(request))
    }

    fn on_request_trailers(&self, request: ContextId) -> Action {
        let configuration = self.configuration(request);
        match told_headers::strip_trailers(&configuration.policy.filter().headers) {
            Ok(()) => Action::Continue,
            // Trailers that cannot be cleaned do not go on.
            Err(_) => Action::Pause,
        }
    }
}
