//! Whether a source has what it captures from: a camera that is unplugged, a server that does not answer.

use std::sync::Mutex;

use crate::clock::Clock;
use crate::graph::secrets::Secrets;
use crate::lock::lock;

/// Told whenever a source loses its device or has it again; the reason says why it is lost.
pub(crate) type ConnectionListener = Box<dyn Fn(Option<String>) + Send + Sync>;

/// How a source says that what it captures from is gone, and that it is back; see
/// [`Setup::connection`](crate::Setup::connection). Who watches the run sees it at once: as an event, and in its
/// statistics.
pub struct Connection {
    lost: Mutex<Option<(String, u64)>>,
    clock: Clock,
    secrets: Secrets,
    listener: Option<ConnectionListener>,
}

impl Connection {
    pub(crate) fn new(
        clock: Clock,
        secrets: Secrets,
        listener: Option<ConnectionListener>,
    ) -> Self {
        Self {
            lost: Mutex::default(),
            clock,
            secrets,
            listener,
        }
    }

    /// It is gone, and why. Saying so again changes the reason without another event.
    pub fn lose(&self, reason: &str) {
        let reason = self.secrets.hide(reason);
        let is_news = {
            let mut lost = lock(&self.lost);
            let since_ns = lost.as_ref().map(|(_, since_ns)| *since_ns);
            let now_ns = since_ns.unwrap_or_else(|| self.clock.now_ns());
            *lost = Some((reason.clone(), now_ns));
            since_ns.is_none()
        };
        if is_news && let Some(listener) = &self.listener {
            listener(Some(reason));
        }
    }

    /// It is there again.
    pub fn restore(&self) {
        let was_lost = {
            let mut lost = lock(&self.lost);
            lost.take().is_some()
        };
        if was_lost && let Some(listener) = &self.listener {
            listener(None);
        }
    }

    /// Why it is gone and since when, nanoseconds of the run's clock; none while it is there.
    pub(crate) fn lost(&self) -> Option<(String, u64)> {
        let lost = lock(&self.lost);
        lost.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_loss_and_each_return_is_told_once() {
        let told: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
        let listener = {
            let told = Arc::clone(&told);
            Box::new(move |news| told.lock().unwrap().push(news)) as ConnectionListener
        };
        let connection = Connection::new(Clock::manual(), Secrets::default(), Some(listener));
        connection.restore();
        connection.lose("unplugged");
        connection.lose("still unplugged");
        assert_eq!(connection.lost().unwrap().0, "still unplugged");
        connection.restore();
        assert_eq!(connection.lost(), None);
        assert_eq!(*told.lock().unwrap(), [Some("unplugged".to_owned()), None]);
    }
}
