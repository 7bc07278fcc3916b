// Package conformance runs workers of the Go SDK against a server: what Go does differently from other SDKs, each test
// in a corner of its own, every history checked and replayed at the end.
//
// The server's address is in OUTLAST_ADDRESS. With CONFORMANCE_CACHE=off the sticky cache has size zero, so that every
// workflow task replays its whole history; the suite is meant to be run both ways, and `sdk/conformance/run go` does.
package conformance
