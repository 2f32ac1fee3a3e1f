package main

import (
	"slices"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// delivery is one hand-over of a message to a consumer's listener, as the message was then: the client goes on to change its own.
type delivery struct {
	consumer       string
	number         uint64
	queue          int
	queueOffset    int64
	reconsumeTimes int32
	shardingKey    string
}

// inbox keeps everything that listeners were handed, in order, and wakes who waits for it.
type inbox struct {
	mutex      sync.Mutex
	deliveries []delivery
	damaged    error
	arrived    chan struct{}
}

func newInbox() *inbox {
	return &inbox{arrived: make(chan struct{}, 1)}
}

// add records a message; a damaged one is kept as a failure for who waits.
func (box *inbox) add(consumer string, message *primitive.MessageExt) {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	number, err := numberOf(message.Body)
	if err != nil {
		box.damaged = err
	} else {
		box.deliveries = append(box.deliveries, delivery{consumer, number, message.Queue.QueueId, message.QueueOffset,
			message.ReconsumeTimes, message.GetShardingKey()})
	}
	select {
	case box.arrived <- struct{}{}:
	default:
	}
}

func (box *inbox) all() []delivery {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	return slices.Clone(box.deliveries)
}

// await waits until every number has come in a delivery of the kind asked for.
func (box *inbox) await(numbers []uint64, kind func(delivery) bool) {
	deadline := time.NewTimer(soon)
	defer deadline.Stop()
	for {
		missing := box.missing(numbers, kind)
		if len(missing) == 0 {
			return
		}
		select {
		case <-box.arrived:
		case <-deadline.C:
			fail("%d of %d messages did not arrive within %v, among them %v", len(missing), len(numbers), soon, missing[0])
		}
	}
}

func (box *inbox) missing(numbers []uint64, kind func(delivery) bool) []uint64 {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	ok(box.damaged, "received")
	seen := make(map[uint64]bool)
	for _, delivery := range box.deliveries {
		if kind(delivery) {
			seen[delivery.number] = true
		}
	}
	var missing []uint64
	for _, number := range numbers {
		if !seen[number] {
			missing = append(missing, number)
		}
	}
	return missing
}

// exactlyOnce fails unless exactly these numbers have come, each once.
func (box *inbox) exactlyOnce(numbers []uint64) {
	equal(sorted(numbers), sorted(numbersOf(box.all())), "messages delivered")
}

func anyKind(delivery) bool { return true }

func toConsumer(name string) func(delivery) bool {
	return func(delivery delivery) bool { return delivery.consumer == name }
}

func numbersOf(deliveries []delivery) []uint64 {
	numbers := make([]uint64, 0, len(deliveries))
	for _, delivery := range deliveries {
		numbers = append(numbers, delivery.number)
	}
	return numbers
}

func sorted(numbers []uint64) []uint64 {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	return numbers
}
