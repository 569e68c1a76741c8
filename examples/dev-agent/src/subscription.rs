//! One open stream of the Workload API.

use futures::Stream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::view::{Conduct, View};

/// What a stream follows.
pub(crate) struct Subscription {
    pub(crate) view: watch::Receiver<View>,
    pub(crate) conduct: watch::Receiver<Conduct>,
    pub(crate) connections: CancellationToken,
}

impl Subscription {
    /// Waits until the agent answers, then tells `answer` of the view as it is.
    pub(crate) async fn once<T>(
        mut self,
        answer: impl FnOnce(&View) -> Result<T, Status>,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            () = self.connections.cancelled() => Err(dropped()),
            () = answering(&mut self.conduct) => answer(&self.view.borrow()),
        }
    }

    /// A message now and one at each change of it, until an error ends the stream.
    pub(crate) fn stream<T: Clone + PartialEq + Send + Sync + 'static>(
        mut self,
        message: impl Fn(&View) -> Result<T, Status> + Send + Sync + 'static,
    ) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
        self.view.mark_changed();
        futures::stream::unfold(
            (Some(self), message, None),
            async |(subscription, message, last)| {
                let mut subscription: Subscription = subscription?;
                match subscription.next(&message, last.as_ref()).await {
                    Ok(next) => Some((Ok(next.clone()), (Some(subscription), message, Some(next)))),
                    Err(status) => Some((Err(status), (None, message, None))),
                }
            },
        )
    }

    async fn next<T: PartialEq>(
        &mut self,
        message: impl Fn(&View) -> Result<T, Status>,
        last: Option<&T>,
    ) -> Result<T, Status> {
        let changed = async {
            loop {
                self.view.changed().await.map_err(|_| dropped())?;
                answering(&mut self.conduct).await;
                let next = message(&self.view.borrow_and_update())?;
                if Some(&next) != last {
                    return Ok(next);
                }
            }
        };
        tokio::select! {
            biased;
            () = self.connections.cancelled() => Err(dropped()),
            next = changed => next,
        }
    }
}

async fn answering(conduct: &mut watch::Receiver<Conduct>) {
    if conduct.wait_for(|conduct| conduct.answering).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn dropped() -> Status {
    Status::unavailable("the agent closed the connection")
}
