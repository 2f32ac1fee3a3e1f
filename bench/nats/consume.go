package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Messages that each consumer has asked for: eight queues with 32 each, as at `trireme bench`.
const asked = 256

// consume reads the stream from its beginning, by one consumer that all connections share, until it is interrupted or the time
// is over. Nothing is acknowledged: RocketMQ's consumers, too, only note their position every few seconds.
func consume(ctx context.Context, stream *Stream, options Options, meter *Meter) error {
	consumer, err := stream.js.CreateConsumer(ctx, stream.name, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckNonePolicy,
		MemoryStorage: true,
		Replicas:      1,
	})
	if err != nil {
		return err
	}
	name := consumer.CachedInfo().Name
	meter.begin()
	for range options.consumers {
		connection, js, err := connect(stream.leader)
		if err != nil {
			return err
		}
		defer connection.Close()
		member, err := js.Consumer(ctx, stream.name, name)
		if err != nil {
			return err
		}
		consuming, err := member.Consume(func(message jetstream.Msg) {
			meter.received(len(message.Data()))
		}, jetstream.PullMaxMessages(asked))
		if err != nil {
			return err
		}
		defer consuming.Stop()
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(meter.ends)):
		}
		close(done)
	}()
	meter.report(done)
	return nil
}
