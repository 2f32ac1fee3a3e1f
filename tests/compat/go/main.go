// The unmodified RocketMQ Go client as a test program: every suite asserts what it received and prints one line.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	label         = "go"
	parallelism   = 6
	suiteDeadline = 150 * time.Second
)

type suite struct {
	name string
	run  func(*env)
}

// suites in the order they start: those that wait for the clock first.
var suites = []suite{
	{"push-retry-dlq", pushRetryDLQ},
	{"push-ordered", pushOrdered},
	{"push-rebalance", pushRebalance},
	{"pull-poll", pullPoll},
	{"send-sync", sendSync},
	{"send-async", sendAsync},
	{"send-one-way", sendOneWay},
	{"send-batch", sendBatch},
	{"send-ordered", sendOrdered},
	{"send-large", sendLarge},
	{"send-parallel", sendParallel},
	{"push-concurrent", pushConcurrent},
	{"push-broadcast", pushBroadcast},
	{"push-tags", pushTags},
	{"pull-from", pullFrom},
	{"offset-restart", offsetRestart},
	{"admin-topic", adminTopic},
	{"auto-topic", autoTopic},
}

func main() {
	namesrv := flag.String("namesrv", "127.0.0.1:9876", "name servers, separated by semicolons")
	list := flag.Bool("list", false, "print the names of the suites")
	flag.Parse()
	if *list {
		for _, suite := range suites {
			fmt.Println(suite.name)
		}
		return
	}
	var chosen []suite
	for _, suite := range suites {
		if flag.NArg() == 0 || slices.Contains(flag.Args(), suite.name) {
			chosen = append(chosen, suite)
		}
	}
	if flag.NArg() > len(chosen) {
		fmt.Fprintln(os.Stderr, "a suite is not known; -list prints their names")
		os.Exit(2)
	}
	rlog.SetLogLevel("error")
	if !runAll(strings.Split(*namesrv, ";"), chosen) {
		os.Exit(1)
	}
}

func runAll(namesrv []string, chosen []suite) bool {
	run := strconv.FormatInt(time.Now().UnixMilli(), 36) + strconv.Itoa(os.Getpid())
	var shared *cluster
	if err := attempt(func() { shared = newCluster(namesrv, run) }); err != nil {
		for _, suite := range chosen {
			fmt.Printf("FAILED %s %s: no cluster to test: %v\n", label, suite.name, err)
		}
		return false
	}
	passed := true
	var mutex sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, parallelism)
	for _, chosen := range chosen {
		group.Add(1)
		slots <- struct{}{}
		go func(suite suite) {
			defer group.Done()
			err := runSuite(shared, suite)
			<-slots
			mutex.Lock()
			defer mutex.Unlock()
			if err == nil {
				fmt.Printf("ok %s %s\n", label, suite.name)
				return
			}
			passed = false
			fmt.Printf("FAILED %s %s: %s\n", label, suite.name, strings.Join(strings.Fields(err.Error()), " "))
		}(chosen)
	}
	group.Wait()
	return passed
}

// runSuite bounds the suite's time, also that of calls into the client that do not come back.
func runSuite(shared *cluster, suite suite) error {
	ended := make(chan error, 1)
	go func() {
		env := newEnv(shared, suite.name)
		err := attempt(func() { suite.run(env) })
		ended <- err
		env.close()
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(suiteDeadline):
		return fmt.Errorf("did not end within %v", suiteDeadline)
	}
}

// attempt runs code that may fail and returns its failure.
func attempt(code func()) (err error) {
	defer func() {
		switch recovered := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("%s", string(recovered))
		default:
			panic(recovered)
		}
	}()
	code()
	return nil
}
