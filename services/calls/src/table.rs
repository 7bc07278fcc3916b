//! The one macro of this crate. It turns the table of a service's calls into the service's trait, in which a call is a method,
//! and a type for each call, in which a method is a value: with these everything else is generic.

/// Makes a service's trait and calls. A row is `Call: method(Request) -> Reply, Way, key;`, with `under` and a field before the
/// semicolon if the request has a request id of its own, and a block of what else differs from the defaults of
/// [`Call`](crate::Call).
macro_rules! calls {
    (
        $(#[$about:meta])*
        $service:ident($name:literal) {
            $(
                $(#[$doc:meta])*
                $call:ident: $method:ident($request:ty) -> $reply:ty,
                    $way:ident, $key:expr $(, under $id:ident)? $(, { $($more:item)* })?;
            )*
        }
    ) => {
        $(#[$about])*
        #[async_trait::async_trait]
        pub trait $service: Send + Sync + 'static {
            $(
                $(#[$doc])*
                async fn $method(&self, ctx: &$crate::CallContext, request: $request) -> $crate::ServiceResult<$reply> {
                    let _ = (ctx, request);
                    Err($crate::call::unserved(<rows::$call as $crate::Call>::NAME))
                }
            )*
        }

        #[async_trait::async_trait]
        impl<T: $crate::Carrier<dyn $service>> $service for T {
            $(
                async fn $method(&self, ctx: &$crate::CallContext, request: $request) -> $crate::ServiceResult<$reply> {
                    self.carry::<rows::$call>(ctx, request).await
                }
            )*
        }

        impl $crate::Service for dyn $service {
            const SHARDED: cluster::Sharded = cluster::Sharded::$service;
            const CALLS: &'static [$crate::Row<Self>] = &[$($crate::Row::of::<rows::$call>()),*];
        }

        enum Number {
            $($call),*
        }

        /// The calls as types.
        pub mod rows {
            $(
                #[doc = concat!("The call of [`", stringify!($method), "`](super::", stringify!($service), "::", stringify!($method), ").")]
                pub struct $call;
            )*
        }

        $(
            impl $crate::Call for rows::$call {
                type Service = dyn $service;
                type Request = $request;
                type Reply = $reply;
                const NAME: &'static str = concat!($name, "/", stringify!($method));
                const NUMBER: usize = Number::$call as usize;
                const WAY: $crate::Way = $crate::Way::$way;

                fn key(request: &Self::Request) -> &str {
                    let key: fn(&Self::Request) -> &str = $key;
                    key(request)
                }

                async fn serve(
                    service: &Self::Service,
                    ctx: &$crate::CallContext,
                    request: Self::Request,
                ) -> $crate::ServiceResult<Self::Reply> {
                    service.$method(ctx, request).await
                }

                $(
                    fn request_id(request: &mut Self::Request) -> Option<&mut String> {
                        Some(&mut request.$id)
                    }
                )?

                $($($more)*)?
            }
        )*
    };
}

pub(crate) use calls;
