//! Both legs over in-memory connections.
