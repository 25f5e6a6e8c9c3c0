package mongodb

import (
	"github.com/klauspost/compress/zstd"
	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/core/order"
)

// packFrom is how many bytes an order has that is worth compressing.
const packFrom = 1 << 10

// Both are safe for use by many goroutines at once, and fail only for wrong options.
var (
	packer, _   = zstd.NewWriter(nil)
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxDocument))
)

// keep implements documentLayout. The outbox is trimmed, so that a result needs a copy of the order; that of a large one
// is compressed.
func (stateLayout) keep(state orderDocument, in *resultDocument) error {
	raw, err := bson.Marshal(state)
	if err != nil {
		return err
	}
	if len(raw) < packFrom {
		in.Order = &state
	} else {
		in.Packed = packer.EncodeAll(raw, nil)
	}
	return nil
}

func unpack(packed []byte) (*order.Order, error) {
	raw, err := unpacker.DecodeAll(packed, nil)
	if err != nil {
		return nil, err
	}
	var d orderDocument
	if err := bson.Unmarshal(raw, &d); err != nil {
		return nil, err
	}
	return d.order()
}
