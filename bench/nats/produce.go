package main

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What a lane waits before it tries again after an error, so that errors are not a busy loop.
const afterError = 10 * time.Millisecond

func produce(ctx context.Context, stream *Stream, options Options, meter *Meter) error {
	body := make([]byte, options.size)
	for at := range body {
		body[at] = byte(at * 131)
	}
	var publishers []jetstream.JetStream
	for range options.producers {
		connection, _, err := connect(stream.leader)
		if err != nil {
			return err
		}
		defer connection.Close()
		publisher, err := jetstream.New(connection, jetstream.WithPublishAsyncMaxPending(options.inFlight),
			jetstream.WithPublishAsyncTimeout(30*time.Second))
		if err != nil {
			return err
		}
		publishers = append(publishers, publisher)
	}
	meter.begin()
	var lanes sync.WaitGroup
	for _, publisher := range publishers {
		for range options.inFlight {
			lanes.Go(func() {
				for ctx.Err() == nil && time.Now().Before(meter.ends) {
					publish(publisher, stream.name, body, meter)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { lanes.Wait(); close(done) }()
	meter.report(done)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	put(meter.summary())
	return nil
}

// publish sends one message and waits for its acknowledgement.
func publish(publisher jetstream.JetStream, subject string, body []byte, meter *Meter) {
	began := time.Now()
	future, err := publisher.PublishAsync(subject, body)
	if err == nil {
		select {
		case <-future.Ok():
			meter.done(began, len(body))
			return
		case err = <-future.Err():
		}
	}
	meter.failed(began, err)
	time.Sleep(afterError)
}
