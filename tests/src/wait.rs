//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a process may take on a busy machine to do what it normally does within a second.
pub const PATIENCE: Duration = Duration::from_secs(40);

const POLL: Duration = Duration::from_millis(20);

/// Asks again and again until the answer is a value, and returns it.
///
/// The error names what was waited for and the last reason why it was not so.
pub async fn until<T>(
    awaited: &str,
    patience: Duration,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let refusal = match tokio::time::timeout(patience, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer".to_owned(),
        };
        if start.elapsed() > patience {
            bail!("{awaited}: not within {} s: {refusal}", patience.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_error_names_the_last_reason() {
        let mut asked = 0;
        let outcome: Result<()> = until("rain", Duration::from_millis(50), async || {
            asked += 1;
            bail!("sunny")
        })
        .await;
        assert_eq!(outcome.unwrap_err().to_string(), "rain: not within 0 s: sunny");
        assert!(asked > 1);
    }
}
