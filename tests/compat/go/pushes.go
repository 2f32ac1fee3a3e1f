package main

import (
	"context"
	"fmt"
	"slices"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const oneSecondLevel = 1

func sendMany(env *env, producer rocketmq.Producer, topic string, count int) []*primitive.Message {
	var sent []*primitive.Message
	for i := 0; i < count; i++ {
		message := env.message(topic, "TagA", 32+i*47)
		env.send(producer, message)
		sent = append(sent, message)
	}
	return sent
}

func pushConcurrent(env *env) {
	topic := env.topic("topic", 4)
	box := newInbox()
	env.push(env.name("group"), topic, "*", into(box, "only"))
	sent := numbersSent(sendMany(env, env.producer(), topic, 200))
	box.await(sent, anyKind)
	box.exactlyOnce(sent)
}

func pushOrdered(env *env) {
	topic := env.topic("topic", 4)
	box := newInbox()
	env.push(env.name("group"), topic, "*", into(box, "only"), consumer.WithConsumerOrder(true))
	ordered := env.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	var sent []*primitive.Message
	for i := 0; i < 120; i++ {
		message := env.message(topic, "TagA", 64).WithShardingKey(fmt.Sprintf("key-%d", i%9))
		env.send(ordered, message)
		sent = append(sent, message)
	}
	box.await(numbersSent(sent), anyKind)
	box.exactlyOnce(numbersSent(sent))
	next := make(map[int]int64)
	last := make(map[string]uint64)
	for _, delivery := range box.all() {
		queue, key := delivery.queue, delivery.shardingKey
		equal(next[queue], delivery.queueOffset, fmt.Sprintf("next offset consumed from queue %d", queue))
		next[queue]++
		that(delivery.number > last[key], "%s was consumed out of order", key)
		last[key] = delivery.number
	}
}

func pushBroadcast(env *env) {
	topic := env.topic("topic", 4)
	box := newInbox()
	for _, name := range []string{"a", "b"} {
		env.push(env.name("group"), topic, "*", into(box, name), consumer.WithConsumerModel(consumer.BroadCasting))
	}
	sent := numbersSent(sendMany(env, env.producer(), topic, 60))
	for _, name := range []string{"a", "b"} {
		box.await(sent, toConsumer(name))
	}
	box.exactlyOnce(append(sent, sent...))
}

func pushTags(env *env) {
	topic := env.topic("topic", 1)
	producer := env.producer()
	var wanted []*primitive.Message
	tags := []string{"TagA", "TagB", "TagC", "", "TagAB", "taga"}
	for i := 0; i < 60; i++ {
		message := env.message(topic, tags[i%len(tags)], 64)
		env.send(producer, message)
		if i%len(tags) < 2 {
			wanted = append(wanted, message)
		}
	}
	last := env.message(topic, "TagA", 64)
	env.send(producer, last)
	wanted = append(wanted, last)
	box := newInbox()
	env.push(env.name("group"), topic, "TagA || TagB", into(box, "only"))
	box.await(numbersSent(wanted), anyKind)
	box.exactlyOnce(numbersSent(wanted))
}

func pushRebalance(env *env) {
	topic := env.topic("topic", 8)
	group := env.name("group")
	box := newInbox()
	_, stopFirst := env.push(group, topic, "*", into(box, "a"))
	producer := env.producer()
	box.await(numbersSent(sendMany(env, producer, topic, 40)), anyKind)

	// The broker's notice makes the first give up half; the client has no way to ask for its queues, so messages show them.
	env.push(group, topic, "*", into(box, "b"))
	eventually("both consumers to get messages", soon, func() bool {
		before := len(box.all())
		box.await(numbersSent(sendMany(env, producer, topic, 16)), anyKind)
		consumers := make(map[string]int)
		for _, delivery := range box.all()[before:] {
			consumers[delivery.consumer]++
		}
		return consumers["a"] > 0 && consumers["b"] > 0
	})
	stopFirst()
	box.await(numbersSent(sendMany(env, producer, topic, 40)), anyKind)
}

func pushRetryDLQ(env *env) {
	topic := env.topic("topic", 1)
	group := env.name("group")
	producer := env.producer()
	// A consumer learns of its group's retry topic when it starts, or up to 50 s later, and a broker makes it on its first heartbeat:
	// it is made before. (Not by another consumer: a heartbeat under way when that one ends leaves a real broker with a dead member.)
	env.createTopic("%RETRY%"+group, 1)

	box := newInbox()
	env.push(group, topic, "*", func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		message := messages[0]
		box.add("only", message)
		if concurrently, found := primitive.GetConcurrentlyCtx(ctx); found {
			concurrently.DelayLevelWhenNextConsume = oneSecondLevel
		}
		if message.GetTags() == "poison" || message.GetTags() == "flaky" && message.ReconsumeTimes == 0 {
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	}, consumer.WithMaxReconsumeTimes(2))

	flaky := env.message(topic, "flaky", 100)
	poison := env.message(topic, "poison", 200)
	poison.WithKeys([]string{"poison-key"})
	poison.WithProperty("origin", "漢字")
	env.send(producer, flaky)
	poisoned := env.send(producer, poison)
	box.await(numbersSent([]*primitive.Message{flaky}), redelivered(1))
	box.await(numbersSent([]*primitive.Message{poison}), redelivered(2))

	deadTopic := "%DLQ%" + group
	eventually("a route to the dead-letter topic", soon, func() bool { return len(env.queues(deadTopic)) > 0 })
	reader := env.pull(env.name("reader"), deadTopic)
	queue := &primitive.MessageQueue{Topic: deadTopic, BrokerName: poisoned.MessageQueue.BrokerName, QueueId: 0}
	dead := read(reader, queue, 0, 1)[0]
	equal(must(numberOf(poison.Body)), must(numberOf(dead.Body)), "dead letter")
	equal("poison-key", dead.GetKeys(), "keys of the dead letter")
	equal("漢字", dead.GetProperty("origin"), "property of the dead letter")
	equal(topic, dead.GetProperty(primitive.PropertyRetryTopic), "RETRY_TOPIC of the dead letter")
	for number, expected := range map[uint64][]int32{
		must(numberOf(flaky.Body)): {0, 1}, must(numberOf(poison.Body)): {0, 1, 2},
	} {
		var times []int32
		for _, delivery := range box.all() {
			if delivery.number == number {
				times = append(times, delivery.reconsumeTimes)
			}
		}
		equal(expected, times, fmt.Sprintf("deliveries of message %d", number))
	}
}

func redelivered(times int32) func(delivery) bool {
	return func(delivery delivery) bool { return delivery.reconsumeTimes == times }
}

func offsetRestart(env *env) {
	topic := env.topic("topic", 2)
	group := env.name("group")
	producer := env.producer()
	before := newInbox()
	// One message at a time: when the listener gets the last one, all before it are counted as consumed.
	_, stopFirst := env.push(group, topic, "*", into(before, "first"), consumer.WithConsumeGoroutineNums(1))
	early := numbersSent(sendMany(env, producer, topic, 60))
	before.await(early, anyKind)
	last := numbersSent(sendMany(env, producer, topic, 1))
	before.await(last, anyKind)
	stopFirst()

	late := numbersSent(sendMany(env, producer, topic, 40)) // while nobody is there
	after := newInbox()
	env.push(group, topic, "*", into(after, "second"))
	after.await(late, anyKind)
	got := slices.DeleteFunc(sorted(numbersOf(after.all())), func(number uint64) bool { return number == last[0] })
	equal(late, got, "messages delivered after the restart")
}
