//! Whether a source has its device: a camera may be unplugged, a server may not answer.

use std::sync::Mutex;

use crate::clock::Clock;
use crate::graph::secrets::Secrets;
use crate::lock::lock;

/// Called whenever a source loses its device (with the reason) or has it again (none).
pub(crate) type ConnectionListener = Box<dyn Fn(Option<String>) + Send + Sync>;

/// The handle with which a source reports that its device is lost or back; see
/// [`Setup::connection`](crate::Setup::connection). Both show at once, as an event and in the run's statistics.
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

    /// Reports that the device is lost, and why. Reporting it again changes the reason without another event.
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

    /// Reports that the device is back.
    pub fn restore(&self) {
        let was_lost = {
            let mut lost = lock(&self.lost);
            lost.take().is_some()
        };
        if was_lost && let Some(listener) = &self.listener {
            listener(None);
        }
    }

    /// Returns why the device is lost and since when (nanoseconds of the run's clock), or none while it is there.
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
