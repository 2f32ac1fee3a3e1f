package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const minBody = 12

// newBody makes a message body that proves itself: 8 bytes of number, 4 of length, then letters that follow from the number.
func newBody(number uint64, size int) []byte {
	if size < minBody {
		size = minBody
	}
	body := make([]byte, size)
	binary.BigEndian.PutUint64(body, number)
	binary.BigEndian.PutUint32(body[8:], uint32(size))
	state := number*0x9E3779B97F4A7C15 + 1
	for i := minBody; i < size; i++ {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		body[i] = 'a' + byte(state&15)
	}
	return body
}

// numberOf returns a received body's number, or an error unless every byte is as it was sent.
func numberOf(body []byte) (uint64, error) {
	if len(body) < minBody {
		return 0, fmt.Errorf("a body of %d bytes arrived", len(body))
	}
	number := binary.BigEndian.Uint64(body)
	if !bytes.Equal(newBody(number, len(body)), body) {
		return 0, fmt.Errorf("the body of message %d (%d bytes) arrived changed", number, len(body))
	}
	return number, nil
}
