package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const sendTimeout = 10 * time.Second

// cluster is what all suites of a process share.
type cluster struct {
	resolver primitive.NsResolver
	run      string
	admin    admin.Admin
	// broker is the address of a master. The client offers no way to ask for one: it is taken from a message's id.
	broker string
}

func newCluster(namesrv []string, run string) *cluster {
	resolver := primitive.NewPassthroughResolver(namesrv)
	cluster := &cluster{resolver: resolver, run: run, admin: must(admin.NewAdmin(admin.WithResolver(resolver)))}
	env := newEnv(cluster, "seed")
	defer env.close()
	result := env.send(env.producer(), env.message(env.name("topic"), "TagA", 64))
	id := must(primitive.UnmarshalMsgID([]byte(result.OffsetMsgID)))
	cluster.broker = fmt.Sprintf("%s:%d", id.Addr, id.Port)
	return cluster
}

// createTopic creates or changes a topic on the broker and waits until the name server routes it so.
func (cluster *cluster) createTopic(topic string, queues int) {
	ok(cluster.admin.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(cluster.broker),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues), admin.WithPerm(6)), "create "+topic)
	eventually("a route to "+topic, soon, func() bool { return len(cluster.queues(topic)) == queues })
}

// queues returns the topic's queues that may be written to, none if it is not routed.
func (cluster *cluster) queues(topic string) []*primitive.MessageQueue {
	queues, err := cluster.admin.FetchPublishMessageQueues(context.Background(), topic)
	if err != nil {
		return nil
	}
	return queues
}

// env is what one suite works with: names of its own, and clients that end with it.
type env struct {
	*cluster
	prefix    string
	instances atomic.Int32
	numbers   atomic.Uint64
	closers   []func()
}

func newEnv(cluster *cluster, suite string) *env {
	return &env{cluster: cluster, prefix: "compat-" + cluster.run + "-" + suite}
}

func (env *env) close() {
	for i := len(env.closers) - 1; i >= 0; i-- {
		env.closers[i]()
	}
}

// name returns a name that no other run, process or suite uses.
func (env *env) name(role string) string { return env.prefix + "-" + role }

func (env *env) topic(role string, queues int) string {
	env.createTopic(env.name(role), queues)
	return env.name(role)
}

func (env *env) instance(kind string) string {
	return env.name(fmt.Sprintf("%s%d", kind, env.instances.Add(1)))
}

// message makes a message whose body has the next number of this suite.
func (env *env) message(topic, tag string, size int) *primitive.Message {
	message := primitive.NewMessage(topic, newBody(env.numbers.Add(1), size))
	if tag != "" {
		message.WithTag(tag)
	}
	return message
}

func (env *env) producer(options ...producer.Option) rocketmq.Producer {
	instance := env.instance("producer")
	options = append([]producer.Option{producer.WithNsResolver(env.resolver), producer.WithGroupName(instance),
		producer.WithInstanceName(instance), producer.WithSendMsgTimeout(sendTimeout)}, options...)
	created := must(rocketmq.NewProducer(options...))
	ok(created.Start(), "start of a producer")
	env.closers = append(env.closers, func() { _ = created.Shutdown() })
	return created
}

func (env *env) consumerOptions(kind, group string, options []consumer.Option) []consumer.Option {
	return append([]consumer.Option{consumer.WithNsResolver(env.resolver), consumer.WithGroupName(group),
		consumer.WithInstance(env.instance(kind)), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, options...)
}

type listener func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// push starts a push consumer; the returned function stops it, once.
func (env *env) push(group, topic, tags string, listen listener, options ...consumer.Option) (rocketmq.PushConsumer, func()) {
	created := must(rocketmq.NewPushConsumer(env.consumerOptions("push", group, options)...))
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	ok(created.Subscribe(topic, selector, listen), "subscription to "+topic)
	ok(created.Start(), "start of a push consumer")
	stop := func() { _ = created.Shutdown() }
	env.closers = append(env.closers, stop)
	return created, stop
}

// into returns a listener that puts all it gets into the inbox, under the consumer's name.
func into(box *inbox, name string) listener {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			box.add(name, message)
		}
		return consumer.ConsumeSuccess, nil
	}
}

func (env *env) pull(group, topic string, options ...consumer.Option) rocketmq.PullConsumer {
	created := must(rocketmq.NewPullConsumer(env.consumerOptions("pull", group, options)...))
	ok(created.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}), "subscription to "+topic)
	ok(created.Start(), "start of a pull consumer")
	env.closers = append(env.closers, func() { _ = created.Shutdown() })
	return created
}

// send sends synchronously and checks what every accepted send must answer.
func (env *env) send(producer rocketmq.Producer, messages ...*primitive.Message) *primitive.SendResult {
	result, err := producer.SendSync(context.Background(), messages...)
	ok(err, "send")
	checkResult(result)
	return result
}

func checkResult(result *primitive.SendResult) {
	equal(primitive.SendOK, result.Status, "send status")
	that(len(result.OffsetMsgID) >= 32, "offset message id is %q", result.OffsetMsgID)
	that(result.QueueOffset >= 0, "queue offset is %d", result.QueueOffset)
}

// read returns the messages of a queue from an offset on, waiting until there are as many as wanted.
func read(consumer rocketmq.PullConsumer, queue *primitive.MessageQueue, offset int64, count int) []*primitive.MessageExt {
	var found []*primitive.MessageExt
	eventually(fmt.Sprintf("%d messages of %v from %d", count, queue, offset), soon, func() bool {
		next := offset + int64(len(found))
		result, err := consumer.PullFrom(context.Background(), queue, next, count-len(found))
		if err != nil || result.Status != primitive.PullFound {
			return false
		}
		for i, message := range result.GetMessageExts() {
			equal(next+int64(i), message.QueueOffset, "queue offset of a message pulled")
			found = append(found, message)
		}
		return len(found) == count
	})
	return found
}

func numbersIn(messages []*primitive.MessageExt) []uint64 {
	numbers := make([]uint64, 0, len(messages))
	for _, message := range messages {
		numbers = append(numbers, must(numberOf(message.Body)))
	}
	return numbers
}

func numbersSent(messages []*primitive.Message) []uint64 {
	numbers := make([]uint64, 0, len(messages))
	for _, message := range messages {
		numbers = append(numbers, must(numberOf(message.Body)))
	}
	return numbers
}
