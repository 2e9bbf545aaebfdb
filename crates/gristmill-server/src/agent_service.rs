//! The gRPC service that agents call: one method, a stream in each direction.

use crate::sessions::Sessions;
use axum::body::Body;
use gristmill_wire::agent::{FromAgent, ToAgent};
use http::{Request, Response};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, server::Grpc};
use tonic_prost::ProstCodec;
use tower::Service;

/// The largest message of an agent: a batch of reports with their words.
const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Serves `gristmill.agent.v1.Agent/Connect`.
#[derive(Clone)]
pub struct AgentService(pub Arc<Sessions>);

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl Service<Request<Body>> for AgentService {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connect = Connect(self.0.clone());
        Box::pin(async move {
            let codec: ProstCodec<ToAgent, FromAgent> = ProstCodec::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(grpc.streaming(connect, request).await)
        })
    }
}

struct Connect(Arc<Sessions>);

impl Service<tonic::Request<Streaming<FromAgent>>> for Connect {
    type Response = tonic::Response<ReceiverStream<Result<ToAgent, Status>>>;
    type Error = Status;
    type Future = Answer<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Streaming<FromAgent>>) -> Self::Future {
        let sessions = self.0.clone();
        Box::pin(async move {
            let spoken = sessions.converse(request.into_inner()).await?;
            Ok(tonic::Response::new(ReceiverStream::new(spoken)))
        })
    }
}
