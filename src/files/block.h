/*
 * block.h - managed blocks in Markdown: finding, and writing anew. Pure.
 *
 *   <!-- strata:begin KEY HASH edit the lines; the next strata command takes it in -->
 *   <the lines of the view>
 *   <!-- strata:end KEY -->
 *
 * Everything outside of the block belongs to the authors of the file and is carried over byte for
 * byte. Lines end in \n or \r\n; a block that begins with \r\n is written with \r\n.
 *
 * A block is whole when its begin is followed by its end, with no other marker of this key and no
 * conflict marker of Git in between. Whatever else carries the key's markers is damaged: then only
 * the markers and the lines next to them that can be lines of the view count as managed.
 */
#ifndef ST_FILES_BLOCK_H
#define ST_FILES_BLOCK_H

#include "core/base.h"

/* A view's name and, with a subject, a colon and the subject or its hash. Bytes with the NUL. */
#define ST_BLOCK_KEY_SIZE 96
/* 16 hex digits and the NUL. */
#define ST_BLOCK_HASH_SIZE 17
/* Copies of one block in one file that are looked at; a merge or a paste makes two or three. */
#define ST_BLOCK_PIECES_MAX 16

/* What a line of a block is to its view. */
enum st_line_class {
    ST_LINE_OTHER, /* cannot be a line of this view */
    ST_LINE_FIXED, /* is in every rendering: a table's head */
    ST_LINE_ITEM,  /* carries an id */
    ST_LINE_NEW,   /* could be a new item */
};

struct st_block_piece {
    size_t start, end;             /* managed extent: whole lines */
    char hash[ST_BLOCK_HASH_SIZE]; /* "" when the begin has none */
};

struct st_blocks {
    struct st_block_piece pieces[ST_BLOCK_PIECES_MAX];
    size_t count;
    bool damaged; /* anything but one whole block */
    bool crlf;    /* how the lines of the block end */
};

typedef enum st_line_class st_line_classify(struct st_str line);

void st_blocks_find(struct st_str text, const char *key, st_line_classify *classify,
                    struct st_blocks *out);

/* Without spaces and tabs at both ends. */
struct st_str st_line_trim(struct st_str s);
bool st_line_starts(struct st_str s, const char *text);
/* Takes the next line off *rest; *line is without its end (\n or \r\n). False: no more. */
bool st_line_next(struct st_str *rest, struct st_str *line);

enum st_mark_kind { ST_MARK_NONE, ST_MARK_BEGIN, ST_MARK_END };
/* Whether the line is a marker of this key (of any, when NULL); hash may be NULL. */
enum st_mark_kind st_block_mark(struct st_str line, const char *key, char hash[ST_BLOCK_HASH_SIZE]);
/* The key of a begin, of whatever view. False: it is none, or no key of ours. */
bool st_block_mark_key(struct st_str line, char key[ST_BLOCK_KEY_SIZE]);
/* Whether Git wrote it: <<<<<<< ======= ||||||| >>>>>>> */
bool st_line_is_conflict(struct st_str line);

/*
 * Appends `text` with its first piece replaced by a block with this body, the other pieces left
 * out, and the lines `below` (each with \n) behind the block. Without pieces the block goes to the
 * end.
 */
void st_block_put(struct st_str text, const struct st_blocks *blocks, const char *key,
                  const char *hash, struct st_str body, struct st_str below, struct st_buf *out);
/* The same without any block: for who takes a view out of a file. */
void st_block_cut(struct st_str text, const struct st_blocks *blocks, struct st_buf *out);

#endif
