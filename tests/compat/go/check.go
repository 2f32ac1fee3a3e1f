package main

import (
	"fmt"
	"reflect"
	"time"
)

// soon is how long anything that should happen at once may take: a client that missed a notice looks again after 20 s to 30 s.
const soon = 45 * time.Second

const pollInterval = 20 * time.Millisecond

// failure is what a suite panics with when something is not as it must be; the runner reports it. It is raised only on the suite's own
// goroutine: callbacks record what they see, and the suite judges it.
type failure string

func fail(format string, arguments ...any) {
	panic(failure(fmt.Sprintf(format, arguments...)))
}

func that(holds bool, format string, arguments ...any) {
	if !holds {
		fail(format, arguments...)
	}
}

func equal[T any](expected, actual T, what string) {
	that(reflect.DeepEqual(expected, actual), "%s: expected %v, got %v", what, expected, actual)
}

func ok(err error, what string) {
	that(err == nil, "%s: %v", what, err)
}

// must returns the value of a call that may not fail.
func must[T any](value T, err error) T {
	ok(err, "unexpected error")
	return value
}

// eventually polls until the condition holds; for states of the cluster that no client is told about.
func eventually(what string, limit time.Duration, holds func() bool) {
	deadline := time.Now().Add(limit)
	for !holds() {
		that(time.Now().Before(deadline), "%s: not within %v", what, limit)
		time.Sleep(pollInterval)
	}
}
