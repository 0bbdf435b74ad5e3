//! What the command line says of the cloud's notifications.

use protocol::Trust;
use protocol::error::{Error, Status};

use super::environment;
use crate::cli::NotificationArgs;
use crate::notifications::{Address, Broker};
use crate::openstack::SecretString;

/// Where the cloud's notifications come from.
pub(super) fn broker(args: &NotificationArgs) -> Result<Option<Broker>, Error> {
    let (Some(url), Some(password)) = (&args.notifications_url, &args.notifications_password_file) else {
        return Ok(None);
    };
    let usage = |what: String| {
        Error::new(Status::Usage, what, "write it as amqp://USER@HOST[:PORT][/VHOST], or amqps:// for TLS")
    };
    // Not repeated: a URL that is wrong may have a password in it.
    let address = Address::parse(url).map_err(|problem| usage(format!("--notifications-url {problem}")))?;
    if args.notifications_ca.is_some() && !address.secure {
        return Err(usage(
            "--notifications-ca is for amqps://, and --notifications-url is amqp://".to_owned(),
        ));
    }
    let trust = args.notifications_ca.as_deref().map_or(Ok(Trust::WebPki), environment::trust)?;
    let password = environment::first_line(password)?;
    if password.is_empty() {
        let what = "the file of --notifications-password-file has no password in its first line";
        return Err(Error::new(Status::Usage, what, "write the password into it"));
    }
    let exchanges = args.notifications_exchange.clone();
    let broker = Broker::new(address, SecretString::new(password), &trust, exchanges);
    broker.map(Some).map_err(|_| {
        let what = "no certificate of --notifications-ca can serve as a CA";
        Error::new(Status::Usage, what, "give the PEM of the CA that signed RabbitMQ's certificate")
    })
}
