package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func sendSync(env *env) {
	topic := env.topic("topic", 4)
	producer := env.producer()
	reader := env.pull(env.name("group"), topic)
	next := make(map[int]int64)
	for i := 0; i < 40; i++ {
		message := env.message(topic, "TagA", 100+i*200) // the later ones are compressed
		message.WithKeys([]string{"key-1", "key-2"})
		message.WithProperty("unicode", "naïve 漢字")
		result := env.send(producer, message)
		equal(next[result.MessageQueue.QueueId], result.QueueOffset, "queue offset")
		next[result.MessageQueue.QueueId]++

		stored := read(reader, result.MessageQueue, result.QueueOffset, 1)[0]
		equal(must(numberOf(message.Body)), must(numberOf(stored.Body)), "message read back")
		equal(result.MsgID, stored.MsgId, "message id")
		equal(result.OffsetMsgID, stored.OffsetMsgId, "offset message id")
		equal("TagA", stored.GetTags(), "tag")
		equal("key-1 key-2", stored.GetKeys(), "keys")
		equal("naïve 漢字", stored.GetProperty("unicode"), "property")
	}
	equal(4, len(next), "queues sent to")
	connection, err := net.DialTimeout("tcp", env.broker, 3*time.Second)
	ok(err, "the address inside an offset message id")
	_ = connection.Close()
}

func sendAsync(env *env) {
	topic := env.topic("topic", 4)
	producer := env.producer()
	const count = 100
	type answer struct {
		result *primitive.SendResult
		err    error
	}
	answers := make(chan answer, count)
	for i := 0; i < count; i++ {
		ok(producer.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			answers <- answer{result, err}
		}, env.message(topic, "TagA", 64)), "asynchronous send")
	}
	places := make(map[string]bool)
	deadline := time.After(soon)
	for i := 0; i < count; i++ {
		select {
		case answer := <-answers:
			ok(answer.err, "asynchronous send")
			checkResult(answer.result)
			places[fmt.Sprint(answer.result.MessageQueue, answer.result.QueueOffset)] = true
		case <-deadline:
			fail("%d of %d callbacks came in time", i, count)
		}
	}
	equal(count, len(places), "places that messages were stored at")
}

func sendOneWay(env *env) {
	topic := env.topic("topic", 4)
	box := newInbox()
	env.push(env.name("group"), topic, "*", into(box, "only"))
	producer := env.producer()
	var sent []*primitive.Message
	for i := 0; i < 50; i++ {
		message := env.message(topic, "TagA", 64)
		ok(producer.SendOneWay(context.Background(), message), "one-way send")
		sent = append(sent, message)
	}
	box.await(numbersSent(sent), anyKind)
	box.exactlyOnce(numbersSent(sent))
}

func sendBatch(env *env) {
	topic := env.topic("topic", 1)
	producer := env.producer()
	reader := env.pull(env.name("group"), topic)
	expected := int64(0)
	for _, size := range []int{2, 20, 33} {
		var batch []*primitive.Message
		for i := 0; i < size; i++ {
			batch = append(batch, env.message(topic, "TagA", 60+i))
		}
		result := env.send(producer, batch...)
		equal(expected, result.QueueOffset, "offset of the batch's first message")
		equal(size, len(strings.Split(result.OffsetMsgID, ",")), "offset message ids of the batch")
		stored := read(reader, result.MessageQueue, expected, size)
		equal(numbersSent(batch), numbersIn(stored), "messages of the batch")
		expected += int64(size)
	}
}

func sendOrdered(env *env) {
	topic := env.topic("topic", 4)
	ordered := env.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	reader := env.pull(env.name("group"), topic)
	queueOf := make(map[string]int)
	sent := make(map[int][]*primitive.Message)
	queues := make(map[int]*primitive.MessageQueue)
	for i := 0; i < 40; i++ {
		key := fmt.Sprintf("key-%d", i%7)
		message := env.message(topic, "TagA", 64).WithShardingKey(key)
		result := env.send(ordered, message)
		queue := result.MessageQueue.QueueId
		if known, seen := queueOf[key]; seen {
			equal(known, queue, "queue of "+key)
		}
		queueOf[key] = queue
		queues[queue] = result.MessageQueue
		sent[queue] = append(sent[queue], message)
	}
	for queue, messages := range sent {
		equal(numbersSent(messages), numbersIn(read(reader, queues[queue], 0, len(messages))), "messages in order")
	}
}

func sendLarge(env *env) {
	topic := env.topic("topic", 1)
	uncompressed := env.producer(producer.WithCompressMsgBodyOverHowmuch(1<<30), producer.WithRetry(0))
	reader := env.pull(env.name("group"), topic)
	const mib = 1 << 20
	largest := env.message(topic, "TagA", 4*mib-1024)
	result := env.send(uncompressed, largest)
	equal(numbersSent([]*primitive.Message{largest}), numbersIn(read(reader, result.MessageQueue, 0, 1)), "largest message")
	_, err := uncompressed.SendSync(context.Background(), env.message(topic, "TagA", 4*mib+1))
	that(err != nil, "a body over 4 MiB was accepted")
	equal(int64(1), env.send(uncompressed, env.message(topic, "TagA", 64)).QueueOffset, "offset after a refused message")
}

// sendParallel sends from many goroutines over one connection: answers must find their requests.
func sendParallel(env *env) {
	topic := env.topic("topic", 4)
	producer := env.producer()
	reader := env.pull(env.name("group"), topic)
	const goroutines, each = 8, 25
	results := make([][]*primitive.SendResult, goroutines)
	sent := make([][]*primitive.Message, goroutines)
	errors := make([]error, goroutines)
	var group sync.WaitGroup
	for i := 0; i < goroutines; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for j := 0; j < each && errors[i] == nil; j++ {
				message := env.message(topic, "TagA", 64)
				result, err := producer.SendSync(context.Background(), message)
				errors[i] = err
				sent[i] = append(sent[i], message)
				results[i] = append(results[i], result)
			}
		}(i)
	}
	group.Wait()
	for i := range results {
		ok(errors[i], "send")
		for j := 0; j < each; j += 6 {
			stored := read(reader, results[i][j].MessageQueue, results[i][j].QueueOffset, 1)
			equal(numbersSent(sent[i][j:j+1]), numbersIn(stored), "message at its acknowledged place")
		}
	}
}
