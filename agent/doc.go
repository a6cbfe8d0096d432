// Package agent ties everything together: the privileged redirector and the proxy
// process that it starts, as a daemon ([Run]) or around one command ([Exec]).
//
// The redirector loads the redirection, accepts, dials, resolves names, reads
// /proc, token files and credentials, and watches the configuration. It parses
// nothing but that configuration. The proxy ([Proxy]) has its own user id and
// nothing else; it speaks to workloads and databases over sockets that the
// redirector hands it. What either may ask of the other is in agent/channel.
//
// This is the only package that knows all the others.
package agent
