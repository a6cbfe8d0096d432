// Package channel is what the two processes of the agent say to each other, both
// ends of it: a socketpair of type SOCK_SEQPACKET over which messages of one fixed
// size and a closed set of kinds travel, some of them with descriptors.
//
// The redirector is root and believes nothing that the proxy says: [Receiver]
// decodes strictly, closes descriptors that nobody asked for, and its caller
// checks every request against what it knows itself. So a proxy that was taken
// over can do what it could do before (speak to the databases of the connections
// that it holds) and no more.
//
// The package says how to say it. What may be asked is for package agent to know.
package channel
