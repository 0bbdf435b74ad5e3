//! Custom constraints: those that need no cloud are answered here, in Heat's words
//! (`heat/engine/constraint/common_constraints.py`).

use serde_json::Value;

use super::{cron, dns, lookup, moment, network};
use crate::value::python;

/// What a custom constraint says of a value.
pub(super) enum Verdict {
    Fits,
    /// Why not.
    Refused(String),
    /// Something of the cloud is meant; or Heat knows the constraint, and only Heat.
    OnlyTheCloudKnows,
}

/// Looks a value over. A list is seen as a whole, as Heat does.
pub(super) fn check(kind: &str, seen: &Value) -> Verdict {
    let value = python::text(seen);
    let refused = match kind {
        "ip_addr" => network::ip_addr(&value),
        "net_cidr" => network::net_cidr(&value),
        "ip_or_cidr" => network::ip_or_cidr(&value),
        "mac_addr" => network::mac_addr(&value),
        "dns_name" => dns::name(&value),
        "rel_dns_name" => dns::relative_name(&value),
        "dns_domain" => dns::domain(&value),
        "cron_expression" => cron::expression(&value),
        "timezone" => moment::timezone(&value),
        "expiration" => moment::expiration(&value),
        kind if lookup::is_known(kind) => return Verdict::OnlyTheCloudKnows,
        kind => {
            return Verdict::Refused(format!("\"{value}\" does not validate {kind} (constraint not found)"));
        }
    };
    match refused {
        Ok(()) => Verdict::Fits,
        Err(words) => Verdict::Refused(format!("Error validating value '{value}': {words}")),
    }
}
