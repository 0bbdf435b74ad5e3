//! What is kept of a look: a state that is new, and a line of the log about it.

use super::View;
use crate::launch::{Record, Records, RecordsError, Written};

/// Keeps a view in the record of its cluster, if the state is another than the record has, or the stack's id is new; `None`:
/// it is not. Where another launcher has changed the record since it was read, that is newer: it stays, and the next look is
/// compared with it. A record that cannot be written is left as it was, so that the next look tries again.
///
/// # Errors
/// The record cannot be written.
pub fn keep(
    records: &Records,
    record: &mut Record,
    view: &View,
    had_id: bool,
) -> Result<Option<Written>, RecordsError> {
    let kept = View::from_record(record);
    let is_new = (view.state, &view.detail) != (kept.state, &kept.detail);
    if !is_new && had_id == record.stack_id.is_some() {
        return Ok(None);
    }
    let before = record.clone();
    if is_new {
        record.note(format!("{}: {}", view.state.as_str(), view.detail));
    }
    record.last_view = serde_json::to_value(view).unwrap_or_default();
    let written = match records.save(record) {
        Ok(written) => written,
        Err(error) => {
            *record = before;
            if !had_id {
                record.stack_id = None;
            }
            return Err(error);
        }
    };
    if is_new && matches!(written, Written::Done(_)) {
        log::debug!("{} is {}: {}", record.stack_name, view.state.as_str(), view.detail);
    }
    Ok(Some(written))
}
