//! openraft made concrete over the commit log: storage, peer network, hard state.
