//! `health`: whether the service of a data directory is ready, for a container's health check.

use std::path::Path;
use std::time::Duration;

use crate::backup::{self, SOCKET};
use crate::error::Error;

/// The service decides within a second whether it is ready; this is for a machine that is busy.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Asks the service over the admin's socket in its data directory, so that neither TLS nor its address matters, nor where
/// its store is. Gives
/// what it says.
///
/// # Errors
/// No service runs on this directory, or it is not ready.
pub fn check(data_dir: &Path) -> Result<String, Error> {
    let socket = data_dir.join(SOCKET);
    let not_ready = |problem| Error::NotReady { socket: socket.clone(), problem };
    let service = backup::connect(&socket)?.ok_or_else(|| not_ready("no service listens".to_owned()))?;
    service.set_read_timeout(Some(ANSWER_TIME)).map_err(Error::System)?;
    let mut answer = backup::ask(service, "/readyz").map_err(not_ready)?;
    let mut said = String::new();
    std::io::BufRead::read_line(&mut answer, &mut said).map_err(Error::System)?;
    Ok(said.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_that_no_service_runs() {
        let dir = tempfile::tempdir().unwrap();
        let refused = check(dir.path()).unwrap_err();
        assert_eq!(refused.exit_code(), 69);
        assert!(refused.to_string().ends_with("no service listens"), "{refused}");
    }
}
