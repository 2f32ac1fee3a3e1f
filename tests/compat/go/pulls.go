package main

import (
	"context"
	"slices"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// pullFrom reads by place, and keeps an offset for the group's next consumer.
func pullFrom(env *env) {
	topic := env.topic("topic", 1)
	group := env.name("group")
	sent := sendMany(env, env.producer(), topic, 50)
	queue := env.queues(topic)[0]

	first := env.pull(group, topic)
	equal(numbersSent(sent), numbersIn(read(first, queue, 0, 50)), "messages pulled")
	equal(numbersSent(sent[20:30]), numbersIn(read(first, queue, 20, 10)), "messages pulled from the middle")
	result := must(first.PullFrom(context.Background(), queue, 10, 5))
	equal(primitive.PullFound, result.Status, "pull status")
	equal(int64(15), result.NextBeginOffset, "next offset")
	equal(int64(0), result.MinOffset, "min offset")
	equal(int64(50), result.MaxOffset, "max offset")
	beyond := must(first.PullFrom(context.Background(), queue, 1000, 5))
	equal(primitive.PullOffsetIllegal, beyond.Status, "status of a pull beyond the max offset")
	equal(int64(50), beyond.NextBeginOffset, "where a pull beyond the max offset is sent to")

	// The client commits only the queues that its rebalance has given it, and forgets the offsets of all others;
	// that it has the queue shows when it has pulled from it by itself.
	eventually("the queue to be assigned", soon, func() bool {
		_, err := first.Poll(context.Background(), time.Second)
		return err == nil
	})
	ok(first.UpdateOffset(queue, 17), "update of an offset")
	ok(first.PersistOffset(context.Background(), topic), "commit of an offset")
	ok(first.Shutdown(), "stop of a pull consumer")
	second := env.pull(group, topic)
	eventually("the committed offset", soon, func() bool {
		offset, err := second.CurrentOffset(queue)
		return err == nil && offset == 17
	})
}

// pullPoll takes its share of queues and acknowledges what it polled.
func pullPoll(env *env) {
	topic := env.topic("topic", 2)
	sent := numbersSent(sendMany(env, env.producer(), topic, 40))
	polling := env.pull(env.name("group"), topic)
	var got []uint64
	eventually("all messages to be polled", soon, func() bool {
		request, err := polling.Poll(context.Background(), time.Second)
		if consumer.IsNoNewMsgError(err) {
			return false
		}
		ok(err, "poll")
		got = append(got, numbersIn(request.GetMsgList())...)
		polling.ACK(context.Background(), request, consumer.ConsumeSuccess)
		return len(got) >= len(sent)
	})
	slices.Sort(got)
	equal(sent, got, "messages polled")
}
