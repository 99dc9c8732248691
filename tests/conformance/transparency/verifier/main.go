// Command verifier judges what barecount_transparency produced with other people's code only:
// golang.org/x/mod/sumdb/note, github.com/transparency-dev/formats and github.com/transparency-dev/merkle.
//
// It reads one JSON document on stdin and writes {"failures": [...], "checked": {...}} on stdout.
// Bytes travel as base64, which is what encoding/json makes of []byte.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"

	flog "github.com/transparency-dev/formats/log"
	fproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

type input struct {
	Origin       string        `json:"origin"`
	VKey         string        `json:"vkey"`
	Cosigners    []string      `json:"cosigners"`
	Entries      [][]byte      `json:"entries"`
	Checkpoints  [][]byte      `json:"checkpoints"` // signed notes
	Inclusions   []inclusion   `json:"inclusions"`
	Consistency  []consistency `json:"consistency"`
	ProofFiles   []proofFile   `json:"proof_files"`
	Bundles      []bundle      `json:"bundles"`
	Tiles        []tile        `json:"tiles"`
	ForeignNotes bool          `json:"foreign"` // also answer with a note and proof file made here
}

type inclusion struct {
	Index uint64   `json:"index"`
	Size  uint64   `json:"size"`
	Leaf  []byte   `json:"leaf"`
	Proof [][]byte `json:"proof"`
	Root  []byte   `json:"root"`
}

type consistency struct {
	Old     uint64   `json:"old"`
	New     uint64   `json:"new"`
	OldRoot []byte   `json:"old_root"`
	NewRoot []byte   `json:"new_root"`
	Proof   [][]byte `json:"proof"`
}

type proofFile struct {
	File  []byte `json:"file"`
	Entry []byte `json:"entry"`
}

type bundle struct {
	Index uint64 `json:"index"`
	Data  []byte `json:"data"`
}

type tile struct {
	Level uint   `json:"level"`
	Index uint64 `json:"index"`
	Data  []byte `json:"data"`
}

type output struct {
	Failures []string       `json:"failures"`
	Checked  map[string]int `json:"checked"`
	VKey     string         `json:"vkey,omitempty"`
	Note     []byte         `json:"note,omitempty"`
	Proof    []byte         `json:"proof,omitempty"`
}

func main() {
	var in input
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		fmt.Fprintln(os.Stderr, "stdin:", err)
		os.Exit(2)
	}
	out := output{Failures: []string{}, Checked: map[string]int{}}
	check := func(what string, err error) {
		out.Checked[what]++
		if err != nil {
			out.Failures = append(out.Failures, fmt.Sprintf("%s %d: %v", what, out.Checked[what]-1, err))
		}
	}

	key, err := note.NewVerifier(in.VKey)
	check("vkey", err)
	if err != nil {
		finish(out)
	}
	var others []note.Verifier
	for _, vkey := range in.Cosigners {
		other, err := note.NewVerifier(vkey)
		check("vkey", err)
		if err == nil {
			others = append(others, other)
		}
	}

	for _, raw := range in.Checkpoints {
		check("checkpoint", verifyCheckpoint(in, raw, key, others))
	}
	for _, p := range in.Inclusions {
		check("inclusion", proof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, p.Size, p.Leaf, p.Proof, p.Root))
	}
	for _, p := range in.Consistency {
		check("consistency", proof.VerifyConsistency(rfc6962.DefaultHasher, p.Old, p.New, p.Proof, p.OldRoot, p.NewRoot))
	}
	for _, p := range in.ProofFiles {
		check("proof_file", verifyFile(in, p, key))
	}
	for _, b := range in.Bundles {
		check("bundle", verifyBundle(in, b))
	}
	for _, t := range in.Tiles {
		check("tile", verifyTile(in, t))
	}
	if in.ForeignNotes {
		check("foreign", makeForeign(in, &out))
	}
	finish(out)
}

func finish(out output) {
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, "stdout:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

// root hashes entries [low, high) with transparency-dev's compact range, from the raw entries.
func root(in input, low, high uint64) ([]byte, error) {
	if high > uint64(len(in.Entries)) || low > high {
		return nil, fmt.Errorf("entries [%d, %d) of %d", low, high, len(in.Entries))
	}
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	all := factory.NewEmptyRange(0)
	for _, entry := range in.Entries[low:high] {
		if err := all.Append(rfc6962.DefaultHasher.HashLeaf(entry), nil); err != nil {
			return nil, err
		}
	}
	if low == high {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return all.GetRootHash(nil)
}

func verifyCheckpoint(in input, raw []byte, key note.Verifier, others []note.Verifier) error {
	cp, _, opened, err := flog.ParseCheckpoint(raw, in.Origin, key, others...)
	if err != nil {
		return err
	}
	if len(opened.Sigs) != 1+len(others) {
		return fmt.Errorf("%d verified signatures, want %d", len(opened.Sigs), 1+len(others))
	}
	want, err := root(in, 0, cp.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(cp.Hash, want) {
		return fmt.Errorf("size %d has root %x, want %x", cp.Size, cp.Hash, want)
	}
	return nil
}

func verifyFile(in input, p proofFile, key note.Verifier) error {
	var parsed fproof.TLogProof
	if err := parsed.Unmarshal(p.File); err != nil {
		return err
	}
	if again := parsed.Marshal(); !bytes.Equal(again, p.File) {
		return fmt.Errorf("written again it differs: %q", again)
	}
	cp, _, _, err := flog.ParseCheckpoint(parsed.Checkpoint, in.Origin, key)
	if err != nil {
		return err
	}
	hashes := make([][]byte, len(parsed.Hashes))
	for i := range parsed.Hashes {
		hashes[i] = parsed.Hashes[i][:]
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(p.Entry)
	return proof.VerifyInclusion(rfc6962.DefaultHasher, parsed.Index, cp.Size, leaf, hashes, cp.Hash)
}

func verifyBundle(in input, b bundle) error {
	at, rest := b.Index*256, b.Data
	for len(rest) > 0 {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return fmt.Errorf("ends inside entry %d", at)
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		if at >= uint64(len(in.Entries)) || !bytes.Equal(rest[2:end], in.Entries[at]) {
			return fmt.Errorf("entry %d differs", at)
		}
		at, rest = at+1, rest[end:]
	}
	return nil
}

func verifyTile(in input, t tile) error {
	if len(t.Data) == 0 || len(t.Data)%32 != 0 || len(t.Data) > 8192 {
		return fmt.Errorf("%d bytes", len(t.Data))
	}
	span := uint64(1) << (8 * t.Level)
	for i := uint64(0); i < uint64(len(t.Data)/32); i++ {
		position := t.Index*256 + i
		want, err := root(in, position*span, (position+1)*span)
		if err != nil {
			return err
		}
		if got := t.Data[i*32 : i*32+32]; !bytes.Equal(got, want) {
			return fmt.Errorf("level %d position %d is %x, want %x", t.Level, position, got, want)
		}
	}
	return nil
}

// makeForeign signs a checkpoint over all entries and marshals a proof of the last one, for our own reader to judge.
func makeForeign(in input, out *output) error {
	skey, vkey, err := note.GenerateKey(rand.Reader, in.Origin)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	size := uint64(len(in.Entries))
	hash, err := root(in, 0, size)
	if err != nil {
		return err
	}
	body := flog.Checkpoint{Origin: in.Origin, Size: size, Hash: hash}.Marshal()
	signed, err := note.Sign(&note.Note{Text: string(body)}, signer)
	if err != nil {
		return err
	}
	out.VKey, out.Note = vkey, signed
	// size is chosen odd by the test: the last leaf's path is then the peaks to its left, right to left
	file := fproof.TLogProof{Index: size - 1, Checkpoint: signed, ExtraData: []byte("made in Go")}
	nodes := compact.RangeNodes(0, size-1, nil)
	for i := len(nodes) - 1; i >= 0; i-- {
		low := nodes[i].Index << nodes[i].Level
		peak, err := root(in, low, low+(1<<nodes[i].Level))
		if err != nil {
			return err
		}
		file.Hashes = append(file.Hashes, [32]byte(peak))
	}
	out.Proof = file.Marshal()
	return nil
}
