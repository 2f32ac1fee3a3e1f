//! The KV configuration: 100, 101, 102, 219.

use tracing::info;
use trireme_remoting::body::KvTable;
use trireme_remoting::headers::{KvConfigRequest, KvConfigResponse, NamespaceRequest, PutKvConfigRequest};
use trireme_remoting::{Frame, Responder, response};

use super::{Answer, Handler, Refused, success, success_with};
use crate::kv::{Change, KvError};

impl Handler {
    /// Code 100. Answered when the value is durable.
    pub(super) fn put_kv_config(&self, request: &Frame, responder: Responder) {
        match PutKvConfigRequest::from_ext(&request.ext) {
            Ok(PutKvConfigRequest { namespace, key, value }) => {
                info!(peer = %responder.connection().peer_addr(), namespace, key, "kv configuration put");
                let (namespace, key, value) = (namespace.to_owned(), key.to_owned(), value.to_owned());
                self.change_kv(Change::Put { namespace, key, value }, responder);
            }
            Err(error) => responder.refuse(response::SYSTEM_ERROR, error.to_string()),
        }
    }

    /// Code 102. Answered when the value is durably gone; also when there was none.
    pub(super) fn delete_kv_config(&self, request: &Frame, responder: Responder) {
        match KvConfigRequest::from_ext(&request.ext) {
            Ok(KvConfigRequest { namespace, key }) => {
                info!(peer = %responder.connection().peer_addr(), namespace, key, "kv configuration delete");
                let (namespace, key) = (namespace.to_owned(), key.to_owned());
                self.change_kv(Change::Delete { namespace, key }, responder);
            }
            Err(error) => responder.refuse(response::SYSTEM_ERROR, error.to_string()),
        }
    }

    fn change_kv(&self, change: Change, responder: Responder) {
        self.kv.change(change, move |made| match made {
            Ok(()) => responder.reply(success()),
            Err(error @ KvError::Busy { .. }) => responder.refuse(response::SYSTEM_BUSY, error.to_string()),
            Err(error) => responder.refuse(response::SYSTEM_ERROR, error.to_string()),
        });
    }

    /// Code 101.
    pub(super) fn get_kv_config(&self, request: &Frame) -> Answer {
        let KvConfigRequest { namespace, key } = KvConfigRequest::from_ext(&request.ext)?;
        match self.kv.get(namespace, key) {
            Some(value) => Ok(success().with_ext(KvConfigResponse { value: Some(&value) }.to_ext())),
            None => Err(Refused::new(response::QUERY_NOT_FOUND, "no such key in the kv configuration")),
        }
    }

    /// Code 219.
    pub(super) fn kv_namespace(&self, request: &Frame) -> Answer {
        let NamespaceRequest { namespace } = NamespaceRequest::from_ext(&request.ext)?;
        match self.kv.namespace(namespace) {
            Some(table) => Ok(success_with(KvTable { table }.encode())),
            None => Err(Refused::new(response::QUERY_NOT_FOUND, "no such namespace in the kv configuration")),
        }
    }
}
