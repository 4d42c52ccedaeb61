/* A plugin of qemu's that counts the ARM instructions a program executes, and shows the program itself the count.
 *
 *     qemu-aarch64 -plugin instructions.so,page=FILE[,pattern=WORD/MASK,...] PROGRAM
 *
 * FILE holds two numbers of eight bytes: what was counted so far, and what it was when the program last asked, which it
 * does by executing ASK. With patterns only the instructions count that equal one of them under its mask.
 *
 * The functions are restated from qemu's description of its plugins, version 1: Debian packages no header. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ADD = 0, NO_REGISTERS = 0, MOST_PATTERNS = 16 };
/* "hint #127", which every processor passes over, and no compiler writes. */
static const uint32_t ASK = 0xd5032fff;

typedef uint64_t Plugin;
typedef struct Block Block;
typedef struct Instruction Instruction;

void qemu_plugin_register_vcpu_tb_trans_cb(Plugin plugin, void (*translated)(Plugin, Block *));
void qemu_plugin_register_vcpu_tb_exec_inline(Block *block, int operation, void *number, uint64_t operand);
void qemu_plugin_register_vcpu_insn_exec_cb(Instruction *at, void (*executed)(unsigned, void *), int registers, void *);
size_t qemu_plugin_tb_n_insns(const Block *block);
Instruction *qemu_plugin_tb_get_insn(const Block *block, size_t position);
const void *qemu_plugin_insn_data(const Instruction *instruction);

typedef struct {
    volatile uint64_t counted, asked;
} Page;

static Page *page;
static struct { uint32_t word, mask; } patterns[MOST_PATTERNS];
static size_t pattern_count;

static bool counts(uint32_t word) {
    for (size_t i = 0; i < pattern_count; i++)
        if ((word & patterns[i].mask) == patterns[i].word) return true;
    return pattern_count == 0;
}

static void show(unsigned processor, void *unused) {
    (void)processor, (void)unused;
    page->asked = page->counted;
}

/* A block runs from its first instruction to its last: one addition counts all of it. */
static void translated(Plugin plugin, Block *block) {
    uint64_t counting = 0;
    (void)plugin;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        Instruction *instruction = qemu_plugin_tb_get_insn(block, i);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
        counting += counts(word);
        if (word == ASK) qemu_plugin_register_vcpu_insn_exec_cb(instruction, show, NO_REGISTERS, NULL);
    }
    if (counting > 0) qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, (void *)&page->counted, counting);
}

static bool open_page(const char *path) {
    int file = open(path, O_RDWR);
    if (file < 0 || ftruncate(file, sizeof *page) != 0) return false;
    void *memory = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    page = memory;
    return memory != MAP_FAILED;
}

static bool take(const char *argument) {
    if (strncmp(argument, "page=", 5) == 0) return open_page(argument + 5);
    if (pattern_count == MOST_PATTERNS) return false;
    uint32_t word, mask;
    if (sscanf(argument, "pattern=%" SCNx32 "/%" SCNx32, &word, &mask) != 2) return false;
    patterns[pattern_count].word = word;
    patterns[pattern_count++].mask = mask;
    return true;
}

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

__attribute__((visibility("default"))) int qemu_plugin_install(Plugin plugin, const void *machine, int count, char **arguments) {
    (void)machine;
    for (int i = 0; i < count; i++) {
        if (take(arguments[i])) continue;
        fprintf(stderr, "instructions.so: cannot take %s\n", arguments[i]);
        return 1;
    }
    if (page == NULL) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated);
    return 0;
}
