//! How clients reach the proxy: the listeners of one proxy, who is let in by them, and where a connection leads that
//! no CONNECT opened (docs/design/013-listeners.md).

mod address;
mod build;
mod clients;
mod doors;
mod entrance;
mod further;
mod intake;
mod loops;
mod meter;
mod origin;
mod original;
mod range;
mod strangers;

pub use address::{Listener, ParseListenerError};
pub use clients::{ParseProxyCredentialsError, ProxyCredentials};
pub use further::FurtherListener;
pub use origin::{HostField, OriginUrl, ParseOriginUrlError};
pub use range::{AddressRange, ParseAddressRangeError};

pub(crate) use address::Mode;
pub(crate) use build::Plan;
pub(crate) use clients::{Clients, take_credentials};
pub(crate) use doors::{Accepted, Doors};
pub(crate) use entrance::{by_name, enter};
pub(crate) use intake::Intake;
pub(crate) use loops::Loops;
pub(crate) use origin::Reverse;
pub(crate) use original::original_destination;
