// Package soak holds tests that run for as long as they are given: make soak.
package soak
