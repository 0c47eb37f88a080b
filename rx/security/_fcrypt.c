/* The fast path of rx/security/fcrypt.py, which documents the cipher: the same class, the same boxes, the same errors.
 * Built by setup.py where there is a compiler, for the stable ABI, so that one file serves every Python from 3.11 on.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>

#define BLOCK 8
#define ROUNDS 16

/* A box with the permutation and the rotation that follow it. */
static uint32_t table[4][256];

typedef struct {
    PyObject_HEAD
    uint32_t schedule[ROUNDS];
} Cipher;

static inline uint32_t load(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void store(uint8_t *at, uint32_t word)
{
    at[0] = word >> 24;
    at[1] = word >> 16;
    at[2] = word >> 8;
    at[3] = word;
}

static inline uint32_t mix(uint32_t word)
{
    return table[0][word >> 24] ^ table[1][word >> 16 & 255] ^ table[2][word >> 8 & 255] ^ table[3][word & 255];
}

static inline void encrypt_words(const uint32_t *key, uint32_t *left, uint32_t *right)
{
    uint32_t l = *left, r = *right;
    for (int i = 0; i < ROUNDS; i += 2) {
        l ^= mix(key[i] ^ r);
        r ^= mix(key[i + 1] ^ l);
    }
    *left = l;
    *right = r;
}

static inline void decrypt_words(const uint32_t *key, uint32_t *left, uint32_t *right)
{
    uint32_t l = *left, r = *right;
    for (int i = ROUNDS - 1; i > 0; i -= 2) {
        r ^= mix(key[i] ^ l);
        l ^= mix(key[i - 1] ^ r);
    }
    *left = l;
    *right = r;
}

/* Two blocks at a time: their rounds do not wait for one another. */
static inline void decrypt_two(const uint32_t *key, uint32_t words[4])
{
    uint32_t l = words[0], r = words[1], m = words[2], s = words[3];
    for (int i = ROUNDS - 1; i > 0; i -= 2) {
        r ^= mix(key[i] ^ l);
        s ^= mix(key[i] ^ m);
        l ^= mix(key[i - 1] ^ r);
        m ^= mix(key[i - 1] ^ s);
    }
    words[0] = l;
    words[1] = r;
    words[2] = m;
    words[3] = s;
}

static void encrypt_chain(const uint32_t *key, const uint8_t *in, uint8_t *out, Py_ssize_t size, const uint8_t *vector)
{
    uint32_t l = load(vector), r = load(vector + 4);
    for (; size > 0; size -= BLOCK, in += BLOCK, out += BLOCK) {
        uint32_t pl = load(in), pr = load(in + 4);
        l ^= pl;
        r ^= pr;
        encrypt_words(key, &l, &r);
        store(out, l);
        store(out + 4, r);
        l ^= pl;
        r ^= pr;
    }
}

static void decrypt_chain(const uint32_t *key, const uint8_t *in, uint8_t *out, Py_ssize_t size, const uint8_t *vector)
{
    uint32_t cl = load(vector), cr = load(vector + 4);
    for (; size > 0; size -= 2 * BLOCK, in += 2 * BLOCK, out += 2 * BLOCK) {
        int blocks = size > BLOCK ? 2 : 1;
        uint32_t sealed[4] = {load(in), load(in + 4), 0, 0};
        if (blocks == 2) {
            sealed[2] = load(in + 8);
            sealed[3] = load(in + 12);
        }
        uint32_t words[4] = {sealed[0], sealed[1], sealed[2], sealed[3]};
        decrypt_two(key, words);
        for (int block = 0; block < blocks; block++) {
            uint32_t l = words[2 * block] ^ cl, r = words[2 * block + 1] ^ cr;
            store(out + BLOCK * block, l);
            store(out + BLOCK * block + 4, r);
            cl = l ^ sealed[2 * block];
            cr = r ^ sealed[2 * block + 1];
        }
    }
}

static int is_block(Py_ssize_t size)
{
    if (size == BLOCK)
        return 1;
    PyErr_Format(PyExc_ValueError, "%zd bytes where a block of %d belongs", size, BLOCK);
    return 0;
}

static PyObject *one_block(Cipher *self, PyObject *argument, void (*crypt)(const uint32_t *, uint32_t *, uint32_t *))
{
    Py_buffer block;
    if (PyObject_GetBuffer(argument, &block, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *result = NULL;
    if (is_block(block.len)) {
        uint8_t out[BLOCK];
        uint32_t l = load(block.buf), r = load((const uint8_t *)block.buf + 4);
        crypt(self->schedule, &l, &r);
        store(out, l);
        store(out + 4, r);
        result = PyBytes_FromStringAndSize((const char *)out, BLOCK);
    }
    PyBuffer_Release(&block);
    return result;
}

static PyObject *Cipher_encrypt_block(PyObject *self, PyObject *block)
{
    return one_block((Cipher *)self, block, encrypt_words);
}

static PyObject *Cipher_decrypt_block(PyObject *self, PyObject *block)
{
    return one_block((Cipher *)self, block, decrypt_words);
}

static PyObject *chained(Cipher *self, PyObject *args,
                         void (*crypt)(const uint32_t *, const uint8_t *, uint8_t *, Py_ssize_t, const uint8_t *))
{
    Py_buffer data, vector;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*", &data, &vector))
        return NULL;
    if (!is_block(vector.len))
        ;
    else if (data.len % BLOCK)
        PyErr_Format(PyExc_ValueError, "%zd bytes are no multiple of %d", data.len, BLOCK);
    else if ((result = PyBytes_FromStringAndSize(NULL, data.len)) != NULL)
        crypt(self->schedule, data.buf, (uint8_t *)PyBytes_AsString(result), data.len, vector.buf);
    PyBuffer_Release(&data);
    PyBuffer_Release(&vector);
    return result;
}

static PyObject *Cipher_encrypt(PyObject *self, PyObject *args)
{
    return chained((Cipher *)self, args, encrypt_chain);
}

static PyObject *Cipher_decrypt(PyObject *self, PyObject *args)
{
    return chained((Cipher *)self, args, decrypt_chain);
}

static int Cipher_init(PyObject *self, PyObject *args, PyObject *keywords)
{
    Py_buffer key;
    if (keywords != NULL && PyDict_Size(keywords) > 0) {
        PyErr_SetString(PyExc_TypeError, "Cipher takes no keyword arguments");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "y*", &key))
        return -1;
    int valid = is_block(key.len);
    if (valid) {
        const uint64_t mask = ((uint64_t)1 << 56) - 1;
        uint64_t bits = 0;
        for (int i = 0; i < BLOCK; i++)
            bits = bits << 7 | ((const uint8_t *)key.buf)[i] >> 1;
        for (int i = 0; i < ROUNDS; i++) {
            ((Cipher *)self)->schedule[i] = (uint32_t)bits;
            bits = bits >> 11 | (bits << 45 & mask);
        }
    }
    PyBuffer_Release(&key);
    return valid ? 0 : -1;
}

static void Cipher_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef Cipher_methods[] = {
    {"encrypt_block", Cipher_encrypt_block, METH_O, "Encrypt 8 bytes."},
    {"decrypt_block", Cipher_decrypt_block, METH_O, "Decrypt 8 bytes."},
    {"encrypt", Cipher_encrypt, METH_VARARGS, "Encrypt blocks chained from a vector."},
    {"decrypt", Cipher_decrypt, METH_VARARGS, "Decrypt blocks chained from a vector."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Cipher_slots[] = {
    {Py_tp_doc, "fcrypt with a key made ready for use."},
    {Py_tp_init, Cipher_init},
    {Py_tp_dealloc, Cipher_dealloc},
    {Py_tp_methods, Cipher_methods},
    {0, NULL},
};

static PyType_Spec Cipher_spec = {
    .name = "rx.security._fcrypt.Cipher",
    .basicsize = sizeof(Cipher),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = Cipher_slots,
};

static PyObject *set_boxes(PyObject *module, PyObject *argument)
{
    static const int places[4] = {8, 0, 16, 24};
    Py_buffer boxes;
    if (PyObject_GetBuffer(argument, &boxes, PyBUF_SIMPLE) < 0)
        return NULL;
    if (boxes.len != sizeof(table) / sizeof(uint32_t)) {
        PyBuffer_Release(&boxes);
        PyErr_SetString(PyExc_ValueError, "four boxes of 256 bytes are needed");
        return NULL;
    }
    for (int box = 0; box < 4; box++)
        for (int i = 0; i < 256; i++) {
            uint32_t word = (uint32_t)((const uint8_t *)boxes.buf)[256 * box + i] << places[box];
            table[box][i] = word >> 5 | word << 27;
        }
    PyBuffer_Release(&boxes);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"set_boxes", set_boxes, METH_O, "Take the four S-boxes, one after the other; before any Cipher is used."},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&Cipher_spec);
    if (type == NULL)
        return -1;
    int status = PyModule_AddObjectRef(module, "Cipher", type);
    Py_DECREF(type);
    return status;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rx.security._fcrypt",
    .m_doc = "fcrypt in C; see rx/security/fcrypt.py.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__fcrypt(void)
{
    return PyModuleDef_Init(&definition);
}
