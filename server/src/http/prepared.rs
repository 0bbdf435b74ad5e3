//! Answers that show a short value, prepared once for all who ask for it: the slaves of a cluster ask for the same keys,
//! often in one moment.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{ETAG, LAST_MODIFIED};
use pairing_core::store::Key;

use super::answer_body::AnswerBody;
use super::bodies::key_bytes;
use super::etag::etag;
use super::headers::{Headers, http_date};
use super::negotiation::Format;
use super::prefer::{PREFERENCE_APPLIED, Wait};

/// How many answers a thread keeps.
const KEPT: usize = 16;

thread_local! {
    /// Each at the place that the address of its key gives.
    static PREPARED: RefCell<[Option<Prepared>; KEPT]> = const { RefCell::new([const { None }; KEPT]) };
}

/// An answer that shows a key.
struct Prepared {
    /// As long as it is kept, no other key has its address.
    key: Arc<Key>,
    format: Format,
    /// Those of its endpoint, which are in `answer` too.
    of_endpoint: &'static Headers,
    wait: Option<Wait>,
    answer: Response<Bytes>,
}

/// The answer that shows a key; `wait` is how long it may have been held.
pub(super) fn show(
    key: &Arc<Key>,
    format: Format,
    of_endpoint: &'static Headers,
    wait: Option<Wait>,
) -> Response<AnswerBody> {
    // Those who wait and those who do not ask for a key at one time.
    let place = (Arc::as_ptr(key).addr() / size_of::<Key>() + usize::from(wait.is_some())) % KEPT;
    PREPARED.with_borrow_mut(|kept| {
        let prepared = match &mut kept[place] {
            Some(prepared) if prepared.shows(key, format, of_endpoint, wait) => prepared,
            other => other.insert(Prepared::new(key.clone(), format, of_endpoint, wait)),
        };
        prepared.answer.clone().map(AnswerBody::from)
    })
}

impl Prepared {
    fn new(key: Arc<Key>, format: Format, of_endpoint: &'static Headers, wait: Option<Wait>) -> Self {
        let mut answer = Response::new(key_bytes(&key, format).into());
        let headers = answer.headers_mut();
        headers.extend(http_date(key.modified).map(|date| (LAST_MODIFIED, date)));
        headers.extend(etag(&key).map(|etag| (ETAG, etag)));
        headers.extend(of_endpoint.with_body(format).clone());
        headers.extend(wait.map(|wait| (PREFERENCE_APPLIED, wait.granted())));
        Self { key, format, of_endpoint, wait, answer }
    }

    fn shows(
        &self,
        key: &Arc<Key>,
        format: Format,
        of_endpoint: &'static Headers,
        wait: Option<Wait>,
    ) -> bool {
        Arc::ptr_eq(&self.key, key)
            && self.format == format
            && std::ptr::eq(self.of_endpoint, of_endpoint)
            && self.wait == wait
    }
}
