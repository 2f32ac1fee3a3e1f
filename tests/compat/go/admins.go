package main

import (
	"context"
	"slices"
)

func adminTopic(env *env) {
	topic := env.name("topic")
	equal(0, len(env.queues(topic)), "queues of a topic that does not exist")
	env.createTopic(topic, 6)
	list := must(env.admin.FetchAllTopicList(context.Background()))
	that(slices.Contains(list.TopicList, topic), "the new topic is not in the list of topics")
	queues := make(map[int]bool)
	producer := env.producer()
	for i := 0; i < 6; i++ {
		queues[env.send(producer, env.message(topic, "TagA", 64)).MessageQueue.QueueId] = true
	}
	equal(6, len(queues), "queues sent to")
}

// autoTopic sends to a topic that comes into being with its first message, by the pattern of TBW102.
func autoTopic(env *env) {
	topic := env.name("topic")
	producer := env.producer()
	first := env.message(topic, "TagA", 64)
	env.send(producer, first)
	eventually("a route to the new topic", soon, func() bool { return len(env.queues(topic)) > 0 })
	equal(4, len(env.queues(topic)), "queues of the new topic")
	box := newInbox()
	env.push(env.name("group"), topic, "*", into(box, "only"))
	sent := append(numbersSent(sendMany(env, producer, topic, 10)), must(numberOf(first.Body)))
	box.await(sent, anyKind)
	box.exactlyOnce(sent)
}
