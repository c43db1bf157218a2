#define UNROLL _Pragma("GCC unroll 16")

// Included before V in each instruction set's unnamed namespace: 16-bit floats as stored. Types of their own, so that overloads tell them
// apart.
struct Bf16 {
    uint16_t bits;
};
struct F16 {
    uint16_t bits;
};
